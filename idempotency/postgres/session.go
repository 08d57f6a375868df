package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// direct marks a connection behind which one session of the server stands for as long as it lives.
const direct = "onceway.direct"

// prepare readies a new connection. If it leads to a session of its own, the settings of the usual
// statements are made here once, and not with every batch, which costs a tenth of a small one.
//
// The server's process says whether it does: behind a pooler the number that the connection was given at
// its start is not that of the process which answers, and another may answer the next time.
func prepare(ctx context.Context, c *pgx.Conn) error {
	registerArrays(c)
	var process uint32
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&process); err != nil {
		return err
	}
	if process != c.PgConn().PID() {
		return nil
	}
	if _, err := c.Exec(ctx, sessionSettings, pgx.QueryExecModeExec); err != nil {
		return err
	}
	c.PgConn().CustomData()[direct] = true
	return nil
}
