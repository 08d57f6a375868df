package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// direct marks a connection behind which one session of the server stands for as long as it lives.
const direct = "onceway.direct"

// prepare readies a new connection. If it leads to a session of its own, the settings of the usual
// statements are made here once, and not with every batch, which costs a tenth of a small one, and with them those
// that all transactions need.
//
// The server's process says whether it does: behind a pooler the number that the connection was given at
// its start is not that of the process which answers, and another may answer the next time. There what all need
// has to be the default already.
func prepare(ctx context.Context, c *pgx.Conn) error {
	registerArrays(c)
	var process uint32
	var unfit string
	if err := c.QueryRow(ctx, sessionDefaults, pgx.QueryExecModeExec).Scan(&process, &unfit); err != nil {
		return err
	}
	if process != c.PgConn().PID() {
		if unfit != "" {
			return &unfitError{unfit}
		}
		return nil
	}
	if _, err := c.Exec(ctx, sessionSettings, pgx.QueryExecModeExec); err != nil {
		return err
	}
	c.PgConn().CustomData()[direct] = true
	return nil
}

// unfitError says which defaults of the sessions behind a pooler do not serve.
type unfitError struct{ settings string }

func (e *unfitError) Error() string {
	return "the sessions behind the pooler have " + e.settings + "; Onceway needs READ COMMITTED, DateStyle ISO and bytea_output hex there: " +
		"use ALTER ROLE … SET or ALTER DATABASE … SET, and let the pooler reconnect"
}
