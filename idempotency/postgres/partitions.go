package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	listPartitions = statement("partitions_list")
	defaultHasDay  = statement("partitions_default_has_day")
	purgeDefault   = statement("partitions_purge_default")
	alterSettings  = statement("partitions_settings")
)

// partitionSettings are those that the migrations gave the first partitions: nothing is vacuumed, or looked at for
// statistics, because it was inserted.
const partitionSettings = "autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647"

// daysAhead is for how many days, beyond the retention of bodies, partitions exist in advance.
const daysAhead = 7

// alterTimeout is how long a change of partitions waits for statements that are under way. Whoever comes
// meanwhile waits behind it, so it is hardly longer than batches take.
const alterTimeout = 50 * time.Millisecond

// keepPartitions drops the partitions of payloads whose day is past, makes those of the coming days,
// and empties the default partition of what is past. A day whose rows are in the default partition
// already stays there: moving them would hold up their inserts. What one change gives way to, as to a dump
// that reads for hours, the others would wait for in vain, too: they are left to the next call.
func (s *Store) keepPartitions(ctx context.Context) error {
	today, days, err := s.partitions(ctx)
	if err != nil {
		return err
	}
	if err := s.changePartitions(ctx, today, days); err != nil && !gaveWay(err) {
		return err
	}
	for range walkWindows {
		var gone int64
		err := s.transact(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, purgeDefault, today, sweepBatch)
			gone = tag.RowsAffected()
			return err
		})
		if err != nil || gone < sweepBatch {
			return err
		}
	}
	return nil
}

// changePartitions makes partitions first: one that is missing costs more than one too many.
func (s *Store) changePartitions(ctx context.Context, today time.Time, days map[time.Time]string) error {
	last := today.Add(s.keep.Response).AddDate(0, 0, daysAhead)
	for day := today; !day.After(last); day = day.AddDate(0, 0, 1) {
		if _, exists := days[day]; exists {
			continue
		}
		if err := s.createPartition(ctx, day); err != nil {
			return err
		}
	}
	for day, name := range days {
		if !day.Before(today) {
			continue
		}
		if err := s.alter(ctx, "DROP TABLE "+name); err != nil {
			return err
		}
	}
	return nil
}

// partitions returns the server's day (UTC), and the quoted names of the partitions by their day.
func (s *Store) partitions(ctx context.Context) (today time.Time, days map[time.Time]string, err error) {
	days = map[time.Time]string{}
	err = s.transact(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, listPartitions)
		if err != nil {
			return err
		}
		var plain, quoted string
		_, err = pgx.ForEachRow(rows, []any{&today, &plain, &quoted}, func() error {
			if day, err := time.Parse("20060102", strings.TrimPrefix(plain, "payloads_")); err == nil {
				days[day] = quoted
			}
			return nil
		})
		return err
	})
	if err == nil {
		s.partitioned.Store(int32(len(days)))
	}
	return today, days, err
}

// manyPartitions is how many days' partitions a statement may lock that needs one of them. A plan that is kept opens all,
// and each is two locks: beyond this it is cheaper to plan each time, for the days that are asked for, and the server's
// memory for locks, of which all connections have a part, is not used up.
const manyPartitions = 64

// namesDays reports whether statements about bodies have to be planned for the days that they name.
func (s *Store) namesDays() bool {
	return max(s.keep.Response, time.Duration(s.partitioned.Load())*day) > manyPartitions*day
}

// createPartition attaches a table of its own making: that, unlike CREATE … PARTITION OF, lets reads
// and inserts of other partitions go on.
func (s *Store) createPartition(ctx context.Context, day time.Time) error {
	var taken bool
	err := s.transact(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, defaultHasDay, day).Scan(&taken)
	})
	if err != nil || taken {
		return err
	}
	name := pgx.Identifier{"payloads_" + day.Format("20060102")}.Sanitize()
	return s.alter(ctx,
		fmt.Sprintf("CREATE TABLE %s (LIKE payloads INCLUDING ALL) WITH (%s)", name, partitionSettings),
		fmt.Sprintf("ALTER TABLE payloads ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')",
			name, day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)))
}

// alter runs statements in one transaction. That somebody else is faster or that the default partition has
// rows of that day is no error.
func (s *Store) alter(ctx context.Context, statements ...string) error {
	err := s.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, alterSettings, fmt.Sprintf("%dms", alterTimeout.Milliseconds())); err != nil {
			return err
		}
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeExec); err != nil {
				return err
			}
		}
		return nil
	})
	var e *Error
	if errors.As(err, &e) {
		switch e.Code {
		case "42P07", "42P01", "23505", "42710", "XX000", // made or dropped meanwhile
			"42P17", "23514": // overlaps with another; the default partition has such rows
			return nil
		}
	}
	return err
}

// gaveWay reports whether an error says that a lock was not to be had.
func gaveWay(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01") // lock_not_available, deadlock_detected
}
