package sqlite

import (
	"context"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed sql/*.sql
var statements embed.FS

// conn is one connection to the file, with its statements prepared. It uses the driver without
// database/sql, whose conversions and locks cost as much again as the statements do. It serves one
// goroutine at a time.
type conn struct {
	driver.Conn
	prepared map[string]driver.Stmt
	args     []driver.NamedValue
}

// connect opens path. Pragmas are of the connection, except that WAL mode stays with the file.
func connect(path string, readOnly bool) (*conn, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(250)",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		// A commit after the split of a page looks through the whole cache (sqlite3PcacheTruncate), and readers drop
		// theirs after each commit. What is not here is in the system's cache of files.
		"cache_size(-4096)",
		"wal_autocheckpoint(2000)",
		"journal_size_limit(67108864)",
		"temp_store(MEMORY)",
		"trusted_schema(OFF)",
	}}
	if readOnly {
		q["_pragma"] = append(q["_pragma"], "query_only(ON)")
	}
	c, err := new(sqlite.Driver).Open("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, prepared: map[string]driver.Stmt{}}, nil
}

// statement returns the prepared statement of sql/NAME.sql.
func (c *conn) statement(name string) (driver.Stmt, error) {
	if s := c.prepared[name]; s != nil {
		return s, nil
	}
	text, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		return nil, err
	}
	return c.prepare(name, string(text))
}

func (c *conn) prepare(name, text string) (driver.Stmt, error) {
	// What follows the last semicolon would make the driver take it for a script, prepared anew each time.
	s, err := c.Prepare(strings.TrimRight(text, "; \n"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.prepared[name] = s
	return s, nil
}

func (c *conn) bind(values []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, v := range values {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return c.args
}

// exec runs a statement that returns no rows and says how many it changed. It cannot be interrupted:
// a batch is short, and half of one is of no use.
func (c *conn) exec(name string, values ...driver.Value) (changed int64, err error) {
	r, err := c.run(name, values)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (c *conn) run(name string, values []driver.Value) (driver.Result, error) {
	s, err := c.statement(name)
	if err != nil {
		return nil, err
	}
	r, err := s.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(values))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// query runs a statement and gives each row to f, which must not keep the slice.
func (c *conn) query(name string, f func(row []driver.Value) error, values ...driver.Value) error {
	s, err := c.statement(name)
	if err != nil {
		return err
	}
	return c.rows(name, s, f, values)
}

func (c *conn) rows(name string, s driver.Stmt, f func(row []driver.Value) error, values []driver.Value) (err error) {
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.bind(values))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

func (c *conn) Close() error {
	var errs []error
	for _, s := range c.prepared {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// busy says that another connection, of whatever process, has the file locked.
func busy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}
