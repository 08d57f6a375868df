package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// transact runs f in one transaction on the writer, at one instant, and commits it durably. The wait
// for the writer ends with ctx; what has begun is not interrupted, because it is short.
//
// The error is a *RolledBackError, unless COMMIT itself failed: then the pages may have reached the
// disk although the call says otherwise, and only a look at the records can tell.
func (s *Store) transact(ctx context.Context, f func(c *conn, now time.Time) error) error {
	c, err := s.takeWriter(ctx)
	if err != nil {
		return &idempotency.RolledBackError{Err: err}
	}
	sound := false
	defer func() {
		if !sound { // also after a panic in f: closing the connection rolls back
			_ = c.Close()
			c = nil
		}
		s.writer <- c
	}()
	if _, err := c.exec("begin"); err != nil {
		return &idempotency.RolledBackError{Err: err, Blocked: busy(err)}
	}
	if err := f(c, s.now()); err != nil {
		sound = c.rollback()
		return &idempotency.RolledBackError{Err: err, Blocked: busy(err)}
	}
	switch _, err := c.exec("commit"); {
	case err == nil:
		sound = true
		return nil
	case busy(err): // SQLite promises that the transaction is still open
		sound = c.rollback()
		return &idempotency.RolledBackError{Err: err, Blocked: true}
	default:
		return err
	}
}

// rollback reports whether the connection can be used again. Some errors roll back by themselves, and
// then there is nothing left to roll back; which ones, is not worth relying on.
func (c *conn) rollback() bool {
	_, err := c.exec("rollback")
	return err == nil
}

func (s *Store) takeWriter(ctx context.Context) (*conn, error) {
	select {
	case <-s.closing:
		return nil, ErrClosed
	default:
	}
	select {
	case c := <-s.writer:
		if c != nil {
			return c, nil
		}
		c, err := s.reconnect()
		if err != nil {
			s.writer <- nil
			return nil, fmt.Errorf("connect again after a failed commit: %w", err)
		}
		return c, nil
	case <-s.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reconnect opens the file that is open anew, and no other that has its name by now: that, a backup for example, may
// lack what was executed since, and the lease holds until the next look at the file.
func (s *Store) reconnect() (*conn, error) {
	if err := s.InPlace(); err != nil {
		return nil, err
	}
	return connect(s.path, false)
}

// read runs f on a connection that only reads.
func (s *Store) read(ctx context.Context, f func(c *conn) error) error {
	return s.readOn(ctx, s.readers, f)
}

func (s *Store) readOn(ctx context.Context, conns chan *conn, f func(c *conn) error) error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	select {
	case c := <-conns:
		defer func() { conns <- c }()
		return f(c)
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
