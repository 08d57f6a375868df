package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/onceway/onceway/openapi/admin"
)

// printList prints a table for people.
func printList(out io.Writer, list admin.List) error {
	if len(list.Items) == 0 {
		_, err := fmt.Fprintln(out, "no records")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OPERATION\tSTATE\tATTEMPTS\tAGE\tROUTE\tCALLER\tREQUEST\tCAUSE")
	for _, r := range list.Items {
		request := "-"
		if r.Request != nil {
			request = r.Request.Method + " " + r.Request.Target
		}
		state := string(r.State)
		if r.Contradicted {
			state += " (contradicted)"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Operation, state, r.Attempts, ago(list.ObservedAt, lastTried(r)),
			cell(r.Route), cell(r.Caller), cell(short(request, 40)), cell(r.Cause))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if list.Next != nil {
		_, err := fmt.Fprintln(out, "There are more: raise --limit, or narrow the search.")
		return err
	}
	return nil
}

func lastTried(r admin.Record) time.Time {
	for _, t := range []*time.Time{r.Times.Dispatched, r.Times.FirstSeen} {
		if t != nil {
			return *t
		}
	}
	return time.Time{}
}

// printRecord prints a record for people.
func printRecord(out io.Writer, r admin.Record) error {
	var b strings.Builder
	line := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, strings.ReplaceAll(fmt.Sprintf(format, values...), "\n", "\n               "))
	}
	line("operation", "%s", r.Operation)
	line("state", "%s%s", r.State, causeOf(r))
	if r.Contradicted {
		line("CONTRADICTED", "an answer has proved this record wrong; the operation is blocked")
	}
	if r.Damaged {
		line("DAMAGED", "the stored answer does not match its digest; it is not given out")
	}
	line("caller", "%s", cell(r.Caller))
	line("key", "%s", cell(r.Key))
	if r.Request != nil {
		line("request", "%s %s", cell(r.Request.Method), cell(r.Request.Target))
	}
	line("route", "%s", cell(r.Route))
	line("attempts", "%d", r.Attempts)
	if o := r.Owner; o != nil {
		line("owner", "%s, epoch %d%s", o.Instance, o.Epoch, standing(o))
	}
	if r.TraceID != "" {
		line("trace", "%s", r.TraceID)
	}
	for _, t := range []struct {
		name string
		at   *time.Time
	}{
		{"first seen", r.Times.FirstSeen}, {"last attempt", r.Times.Dispatched}, {"deadline", r.Deadline},
		{"settled", r.Times.Settled}, {"expires", r.Times.Expires},
	} {
		if t.at != nil {
			line(t.name, "%s", t.at.Format(time.RFC3339))
		}
	}
	if r.Response != nil {
		line("response", "%s", answerOf(r.Response))
	}
	if r.Resolution != nil {
		line("resolved", "by %s at %s: %s", cell(r.Resolution.By), r.Resolution.At.Format(time.RFC3339), text(r.Resolution.Evidence))
	}
	for _, e := range r.Evidence {
		line("evidence", "%s of attempt %d, by %s at %s%s", e.Kind, e.Attempt, cell(e.By), e.At.Format(time.RFC3339), after(e.Text))
	}
	for _, e := range r.Contradictions {
		line("CONTRADICTION", "of attempt %d, by %s at %s%s", e.Attempt, cell(e.By), e.At.Format(time.RFC3339), after(e.Text))
		if e.Response != nil {
			line("", "the answer: %s", answerOf(e.Response))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func causeOf(r admin.Record) string {
	if r.Cause == "" {
		return ""
	}
	return " (" + cell(r.Cause) + ")"
}

// standing says what is known of a record's owner.
func standing(o *admin.Owner) string {
	var b strings.Builder
	if o.Host != "" {
		b.WriteString(" on " + cell(o.Host))
	}
	if o.Alive != nil && *o.Alive {
		b.WriteString(", alive")
	} else if o.Alive != nil {
		b.WriteString(", gone")
	}
	if o.MayHoldAnswers != nil && *o.MayHoldAnswers {
		b.WriteString("\nIT MAY STILL HOLD THE ANSWER in its spool: bring it back before you resolve")
	}
	return b.String()
}

func answerOf(r *admin.Response) string {
	s := fmt.Sprintf("%d, %d bytes, %s", r.Status, r.Length, r.Digest)
	switch {
	case r.Body != nil:
		s += " (" + string(r.BodyEncoding) + ")\n" + text(*r.Body)
	case !r.BodyAvailable:
		s += ", body not available"
	}
	return s
}

func after(s string) string {
	if s == "" {
		return ""
	}
	return ": " + text(s)
}

// cell is a value on one line; what a terminal could take for a command is quoted.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// text is cell for what may have lines.
func text(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
		return strconv.Quote(s)
	}
	return s
}

func short(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
