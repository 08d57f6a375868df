package main

import (
	"context"
	"errors"
	"io/fs"
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

// unquoted is for what OpenTelemetry notes. Of a variable that it cannot read it quotes the value, in an attribute and in
// the error, and that may be the collector's token, or a URL with a password. Which variable and which file may be said.
type unquoted struct{ slog.Handler }

func (h unquoted) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		return h.Handler.Handle(ctx, r)
	}
	said := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		err, _ := a.Value.Any().(error)
		var file *fs.PathError
		if a.Key == "environment variable" || a.Key == "file" || errors.As(err, &file) {
			said.AddAttrs(a)
		}
		return true
	})
	said.AddAttrs(slog.String("hint", "look at the OTEL_ variables; what they say is not shown"))
	return h.Handler.Handle(ctx, said)
}

func (h unquoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return unquoted{h.Handler.WithAttrs(attrs)}
}

func (h unquoted) WithGroup(name string) slog.Handler { return unquoted{h.Handler.WithGroup(name)} }

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
