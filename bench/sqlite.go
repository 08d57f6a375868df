package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

// openSQLite opens a gateway's file, beside the gateway or while there is none.
func openSQLite(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)")
}

// copiedSQLite is copied, for SQLite: came is in microseconds since 1970, and i counts from 1.
var copiedSQLite = map[string]string{
	"seq": "one.seq + i", "id": "copies.id", "attempt": "copies.id", "key": "lower(hex(copies.id))",
	"first_seen": "came", "claimed": "came", "deadline": "came + 30000000", "settled": "came + 10000",
	"body_expires": "came + 86400000000", "expires": "came + 2592000000000", "changed": "commits + i / 8 * 2 + 2",
}

// multiplySQLite copies the one record of a file and what belongs to it. Bodies are made removable when their
// records are, which the gateway does two hours late.
func multiplySQLite(ctx context.Context, path string, n int, oldest, youngest time.Duration) error {
	db, err := openSQLite(path)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	columns := func(table, expires string) (string, error) {
		rows, err := db.QueryContext(ctx, "select name from pragma_table_info(?)", table)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return "", err
			}
			value := copiedSQLite[name]
			switch {
			case value == "":
				value = "one." + name
			case name == "expires":
				value = expires
			}
			names = append(names, value)
		}
		return strings.Join(names, ", "), rows.Err()
	}
	record, err1 := columns("requests", copiedSQLite["expires"])
	payload, err2 := columns("payloads", copiedSQLite["expires"]+" - 7200000000")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	now := time.Now()
	for _, statement := range []string{
		"pragma temp_store = memory",
		"create temp table commits as select max(number) as commits from changes",
		fmt.Sprintf(`create temp table copies as
			with recursive count (i) as (select 1 union all select i + 1 from count where i < %d)
			select i, cast(randomblob(16) as blob) as id, cast(%d + i * %f as integer) as came from count`,
			n, now.Add(-oldest).UnixMicro(), float64((oldest-youngest).Microseconds())/float64(n)),
		"create temp table one as select * from requests limit 1",
		"insert into requests select " + record + " from one, copies, commits",
		`insert into changes (number, at, entries)
			select commits + i / 8 * 2 + k.column1, min(came), unhex(group_concat(hex(id) || '0000000000000000', ''))
			from copies, commits, (values (1), (2)) k group by i / 8, k.column1 order by 1`,
		"create temp table body as select * from payloads limit 1",
		"insert into payloads select " + strings.ReplaceAll(payload, "one.", "body.") + " from body, copies",
		"pragma wal_checkpoint(truncate)",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// keptSQLite returns how many records a file has, how many of them wait to be removed, and what it takes on the disk.
func keptSQLite(ctx context.Context, path string) (rows, due int, bytes int64, err error) {
	db, err := openSQLite(path)
	if err != nil {
		return 0, 0, 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "select (select count(*) from requests), (select count(*) from requests where state in (2, 3, 5, 6) and contradicted = 0 and expires < ?)",
		time.Now().UnixMicro()).Scan(&rows, &due)
	for _, name := range []string{path, path + "-wal"} {
		if info, failed := os.Stat(name); failed == nil {
			bytes += info.Size()
		}
	}
	return rows, due, bytes, err
}
