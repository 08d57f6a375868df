package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	readIdentity   = statement("server_identity")
	storedIdentity = statement("server_stored")
	noteIdentity   = statement("server_note")
)

// serverIdentity says which server a connection leads to: a promoted standby has another timeline, a
// copy that was restored elsewhere another system identifier too.
type serverIdentity struct {
	system   string
	timeline int
}

func (i serverIdentity) String() string { return i.system + "/" + strconv.Itoa(i.timeline) }

func parseIdentity(s string) (serverIdentity, error) {
	system, timeline, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(timeline)
	if err != nil || system == "" {
		return serverIdentity{}, fmt.Errorf("the server's identity is %q", s)
	}
	return serverIdentity{system, n}, nil
}

// identities watches which server the connections of a store lead to. What it notices is in the store
// before the connection is used, so that every claim on it is written on the condition that its key is
// not older than the change.
type identities struct {
	mu     sync.Mutex
	noted  serverIdentity // the last one that is known to be in the store
	newest map[string]int // of each system, the newest timeline seen
	lease  time.Duration
	tell   func(former, now string) // may be nil
}

// errFormerPrimary keeps a gateway that has followed a failover from going back.
var errFormerPrimary = errors.New("the server is on an older timeline than one that was seen before: it is a former primary")

// notice compares a new connection's server with what the store has. A server that cannot say who it is
// goes unnoticed.
func (w *identities) notice(ctx context.Context, c *pgx.Conn) error {
	text, err := askIdentity(ctx, c.PgConn())
	if err != nil || text == "" {
		return err
	}
	id, err := parseIdentity(text)
	if err != nil {
		return err
	}
	w.mu.Lock()
	noted := w.noted
	if w.newest == nil {
		w.newest = map[string]int{}
	}
	newest := w.newest[id.system]
	w.newest[id.system] = max(newest, id.timeline)
	w.mu.Unlock()
	switch {
	case id.timeline < newest:
		return errFormerPrimary
	case id == noted:
		return nil
	}
	former, lately, err := w.note(ctx, c, id)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock() // also while it is told: other connections are not used before
	if w.noted != (serverIdentity{}) {
		former, lately = w.noted.String(), false
	}
	if w.tell != nil && former != "" && (former != id.String() || lately) {
		w.tell(former, id.String())
	}
	w.noted = id
	return nil
}

// note makes sure that the store has the identity, and returns the one that it had, and whether it got that
// less than a lease ago. It writes only what is new: a write may have to wait for a standby.
func (w *identities) note(ctx context.Context, c *pgx.Conn, id serverIdentity) (stored string, lately bool, err error) {
	err = c.QueryRow(ctx, storedIdentity, pgx.QueryExecModeExec, micros(w.lease)).Scan(&stored, &lately)
	if err == nil && stored == id.String() {
		return stored, lately, nil
	}
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		_, err = c.Exec(ctx, noteIdentity, pgx.QueryExecModeExec, id.String())
	}
	return stored, lately, clean(err)
}

// lookAround does the same for a connection that leads to a pooler, behind which the server can change
// unseen.
func (w *identities) lookAround(ctx context.Context, pool *pgxpool.Pool) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return clean(err)
	}
	defer c.Release()
	if c.Conn().PgConn().CustomData()[direct] != nil {
		return nil
	}
	return w.notice(ctx, c.Conn())
}

// askIdentity returns "" where the server has no such notion, or does not tell us.
func askIdentity(ctx context.Context, c *pgconn.PgConn) (string, error) {
	result := c.ExecParams(ctx, readIdentity, nil, nil, nil, nil).Read()
	var refused *pgconn.PgError
	if errors.As(result.Err, &refused) && !strings.EqualFold(refused.Severity, "FATAL") {
		return "", nil
	}
	if result.Err != nil {
		return "", result.Err
	}
	if len(result.Rows) != 1 || len(result.Rows[0]) != 1 {
		return "", errors.New("no answer to the question which server this is")
	}
	return string(result.Rows[0][0]), nil
}
