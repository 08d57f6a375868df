package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/openapi/admin"
)

func newRequestsCommand() *cobra.Command {
	return newGroup("requests", "Look at records, and resolve those that are in doubt",
		newRequestsListCommand(), newRequestsShowCommand(), newRequestsResolveCommand())
}

func newRequestsListCommand() *cobra.Command {
	var f adminFlags
	var asJSON, contradicted bool
	var limit int
	filters := map[string]*string{} // by their flags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List records, the newest first",
		Example: "  onceway requests list --state unknown\n" +
			"  onceway requests list --route orders --age 15m --max-age 24h",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return &usageError{errors.New("--limit is at least 1")}
			}
			given := func(flag string) *string {
				if !cmd.Flags().Changed(flag) {
					return nil
				}
				return filters[flag]
			}
			params := admin.ListRequestsParams{
				State: (*admin.RecordState)(given("state")), Caller: given("caller"), Route: given("route"), Age: given("age"),
				MaxAge: given("max-age"), Operation: given("operation"), Trace: given("trace"),
			}
			if contradicted {
				yes := admin.ListRequestsParamsContradictedTrue
				params.Contradicted = &yes
			}
			c, err := f.client(cmd)
			if err != nil {
				return err
			}
			list, err := c.list(cmd.Context(), params, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printList(cmd.OutOrStdout(), list)
		},
	}
	f.register(cmd)
	for _, filter := range []struct{ name, usage string }{
		{"state", "executing, completed, not_executed, unknown, cancelled or forgotten"},
		{"caller", "whose requests"},
		{"route", "name of a route"},
		{"age", "last attempt at least so long ago, as 15m or 24h"},
		{"max-age", "last attempt at most so long ago"},
		{"operation", "an operation id"},
		{"trace", "a trace id, 32 hexadecimal digits"},
	} {
		filters[filter.name] = cmd.Flags().String(filter.name, "", filter.usage)
	}
	cmd.Flags().BoolVar(&contradicted, "contradicted", false, "only records that an answer has proved wrong")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many records")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newRequestsShowCommand() *cobra.Command {
	var f adminFlags
	var asJSON, withBody bool
	cmd := &cobra.Command{
		Use:   "show OPERATION",
		Short: "Show one record with its attempts, evidence and contradictions",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd)
			if err != nil {
				return err
			}
			r, err := c.show(cmd.Context(), args[0], withBody)
			if err != nil {
				return err
			}
			return printOne(cmd.OutOrStdout(), r, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&withBody, "body", false, "with the bodies of answers; needs a token")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newRequestsResolveCommand() *cobra.Command {
	var f adminFlags
	var asJSON bool
	var said admin.Resolution
	var answer answerFlags
	var attempt int
	cmd := &cobra.Command{
		Use:   "resolve OPERATION",
		Short: "Say what became of an operation in doubt, and on which evidence",
		Long: "Say what became of an operation in doubt, and on which evidence. It cannot be taken back. What was executed\n" +
			"is never executed again; with the backend's answer, retries get that. What was not executed is executed by the\n" +
			"next retry. Evidence and the name of the token are kept.",
		Example: "  onceway requests resolve 6c1f0a52-… --outcome executed --evidence 'ledger row 4711, 10:32 UTC' \\\n" +
			"    --status 201 --header 'Content-Type: application/json' --body-file answer.json\n" +
			"  onceway requests resolve 6c1f0a52-… --outcome not_executed --evidence 'not in the ledger of 10:00 to 11:00 UTC'",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if said.Outcome == "" || strings.TrimSpace(said.Evidence) == "" {
				return &usageError{errors.New("a resolution needs --outcome (executed or not_executed) and --evidence")}
			}
			if said.Response, err = answer.response(cmd); err != nil {
				return err
			}
			if cmd.Flags().Changed("attempt") {
				said.Attempt = &attempt
			}
			c, err := f.client(cmd)
			if err != nil {
				return err
			}
			r, err := c.resolve(cmd.Context(), args[0], said)
			if err != nil {
				return err
			}
			return printOne(cmd.OutOrStdout(), r, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar((*string)(&said.Outcome), "outcome", "", "executed or not_executed")
	cmd.Flags().StringVar(&said.Evidence, "evidence", "", "what you looked at, and what it showed")
	cmd.Flags().IntVar(&attempt, "attempt", 0, "the attempt that the evidence is about; the last one, if left out")
	cmd.Flags().BoolVar(&said.AcknowledgeSpool, "acknowledge-spool", false, "although the owner may still hold the backend's answer")
	answer.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printOne prints one record, for people or for programs.
func printOne(out io.Writer, r admin.Record, asJSON bool) error {
	if asJSON {
		return printJSON(out, r)
	}
	return printRecord(out, r)
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// ago is how long something is past, in the two greatest units.
func ago(now, then time.Time) string {
	d := now.Sub(then).Round(time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < time.Hour:
		return d.String()
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h" + strconv.Itoa(int(d%time.Hour/time.Minute)) + "m"
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
