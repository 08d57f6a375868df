package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(int(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)))
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) exitCode {
	root, started := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !*started {
		// Nothing has run yet: it is cobra that refuses flags, arguments or the verb itself.
		err = &usageError{err}
	}
	return report(stderr, cmd, err)
}

// newRootCommand lists every verb. started becomes true when a verb begins to run.
func newRootCommand() (root *cobra.Command, started *bool) {
	started = new(bool)
	root = newGroup("onceway", "Make a POST safe to retry",
		newServeCommand(),
		newBenchCommand(),
		newDemoCommand(),
		newConfigCommand(),
		newRoutesCommand(),
		newOpenAPICommand(),
		newMigrateCommand(),
		newAdminCommand(),
		newRequestsCommand(),
		newHealthcheckCommand(),
		newVersionCommand(),
	)
	root.Long = "Onceway is a reverse proxy that makes a non-idempotent HTTP request safe to retry: it executes each\n" +
		"operation once, keeps the answer, and says so when nobody can know the outcome."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { *started = true }
	return root, started
}

// newGroup makes a verb that only has verbs below it.
func newGroup(use, short string, verbs ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return &usageError{errVerbNeeded} },
	}
	group.AddCommand(verbs...)
	return group
}
