package main

import (
	"context"
	"log/slog"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
)

// newLog makes the process's log, with the trace ids of what is going on. Lines are written by lines,
// at once from the level warn on.
func newLog(c config.Log, lines *lineWriter) *slog.Logger {
	var level slog.Level
	// The configuration has checked the word; should a new one come, more is logged rather than less.
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelDebug
	}
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(lines, opts)
	if c.Format == "text" {
		h = slog.NewTextHandler(lines, opts)
	}
	return slog.New(urgent{telemetry.TraceIDs(h), lines})
}

// urgent sends what matters on its way without waiting for more.
type urgent struct {
	slog.Handler
	lines *lineWriter
}

func (h urgent) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.lines.hurry()
	}
	return err
}

func (h urgent) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgent{h.Handler.WithAttrs(attrs), h.lines}
}

func (h urgent) WithGroup(name string) slog.Handler {
	return urgent{h.Handler.WithGroup(name), h.lines}
}
