package reconcile

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
)

// Facts are what a client may rely on. Durations are whole seconds, sizes bytes.
type Facts struct {
	Version   string `json:"version"`
	BasePath  string `json:"base_path"`
	KeyHeader string `json:"key_header"`
	Retention struct {
		Response int64 `json:"response"`
		Key      int64 `json:"key"`
	} `json:"retention"`
	Wait struct {
		Default int64 `json:"default"`
		Max     int64 `json:"max"`
	} `json:"wait"`
	Limits struct {
		Key          int   `json:"key"`
		RequestBody  int64 `json:"request_body"`  // the smallest of all protected routes
		ResponseBody int64 `json:"response_body"` // up to this size answers are kept for replay
	} `json:"limits"`
	ServerTime time.Time `json:"server_time"`
}

func (a *api) facts(c echo.Context, ev *telemetry.Event) error {
	facts := a.Facts
	facts.ServerTime = a.Now().UTC()
	c.Response().Header().Set("Cache-Control", "no-store")
	writeJSON(c.Response(), http.StatusOK, facts)
	return nil
}

func (a *api) page(c echo.Context, ev *telemetry.Event) error {
	html, ok := problem.Page(c.Param("slug"))
	if !ok {
		return refused{problem.NewNoRoute()}
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", problem.PagePolicy)
	h.Set("Cache-Control", "public, max-age=3600")
	return c.Blob(http.StatusOK, problem.PageType, html)
}
