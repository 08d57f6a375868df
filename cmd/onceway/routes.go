package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"

	"github.com/onceway/onceway/gateway"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/route"
)

func newRoutesCommand() *cobra.Command {
	return newGroup("routes", "Explain how requests are routed", newRoutesTestCommand())
}

func newRoutesTestCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "test METHOD URL",
		Short: "Say what becomes of a request; 1 if it is refused",
		Example: "  onceway routes test --config onceway.yaml POST /orders\n" +
			"  onceway routes test --config onceway.yaml GET https://shop.example/orders/7",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			// Before any route, as the gateway does.
			if !httpguts.ValidHeaderFieldName(args[0]) {
				return refuse(cmd.OutOrStdout(), errors.New("the method is not a token"))
			}
			if t, err := route.ParseTarget(args[0], args[1], true); err == nil && (t.Path == "*" || gateway.Own(t.Path, c.Reconcile.BasePath)) {
				return explainOwn(cmd.OutOrStdout(), t)
			}
			x, err := route.New(c.Routes).Explain(args[0], args[1])
			if err != nil {
				return refuse(cmd.OutOrStdout(), err)
			}
			return explain(cmd.OutOrStdout(), x)
		},
	}
	f.register(cmd)
	return cmd
}

// refuse says how the gateway would answer a target that it does not accept.
func refuse(out io.Writer, err error) error {
	slug := problem.RequestMalformed
	if ambiguous := (*route.AmbiguousError)(nil); errors.As(err, &ambiguous) {
		slug = problem.PathAmbiguous
	}
	fmt.Fprintf(out, "refused    %d %s: %v\n", slug.Status(), slug, err)
	return silentError{}
}

// explainOwn says that no route matters.
func explainOwn(out io.Writer, t route.Target) error {
	_, err := fmt.Fprintf(out, "target     %s\nanswered   by the gateway itself, never forwarded\n", t)
	return err
}

func explain(out io.Writer, x route.Explanation) error {
	fmt.Fprintf(out, "target     %s\n", x.Target)
	for _, s := range x.Skipped {
		fmt.Fprintf(out, "skipped    %s: %s\n", s.Route.Name, s.Why)
	}
	if x.Route == nil {
		fmt.Fprintf(out, "refused    %d %s\n", problem.NoRoute.Status(), problem.NoRoute)
		return silentError{}
	}
	p := x.Route.Idempotency
	fmt.Fprintf(out, "route      %s (%s)\n", x.Route.Name, x.Route.Match.Path)
	fmt.Fprintf(out, "upstream   %s\n", x.Route.Upstream)
	if !x.Protected {
		_, err := fmt.Fprintf(out, "protected  no (mode %s)\n", p.Mode)
		return err
	}
	fmt.Fprintf(out, "protected  yes (mode %s, key in %s, on unknown %s)\n", p.Mode, p.Header, p.OnUnknown)
	fmt.Fprintf(out, "statuses   not executed %v, unknown %v\n", p.NotExecutedStatuses, p.UnknownStatuses)
	_, err := fmt.Fprintf(out, "limits     request %d bytes, response %d bytes in memory and %d in a file\n", p.MaxRequestBody, p.MaxResponseBody, p.MaxResponseSpill)
	return err
}
