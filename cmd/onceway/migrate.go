package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/migrations"
)

func newMigrateCommand() *cobra.Command {
	return newGroup("migrate", "Move the store's schema from version to version",
		newMigrateUpCommand(), newMigrateDownCommand(), newMigrateStatusCommand())
}

func newMigrateUpCommand() *cobra.Command {
	return newStoreCommand("up", "Bring the schema to the version that this program needs",
		func(cmd *cobra.Command, c *config.Config) error {
			if err := migrations.Up(cmd.Context(), c.Store); err != nil {
				return storeFailure(err)
			}
			return printSchema(cmd, c)
		})
}

func newMigrateDownCommand() *cobra.Command {
	var steps int
	cmd := newStoreCommand("down", "Take migrations back, and erase what they held",
		func(cmd *cobra.Command, c *config.Config) error {
			if steps < 1 {
				return &usageError{errors.New("--steps is at least 1")}
			}
			if err := migrations.Down(cmd.Context(), c.Store, steps); err != nil {
				return storeFailure(err)
			}
			return printSchema(cmd, c)
		})
	cmd.Long = "Take the last migrations back. What is stored in the tables that they made is gone, and with the records\n" +
		"goes the protection of every key. For development, and to undo an upgrade that has stored nothing yet."
	cmd.Flags().IntVar(&steps, "steps", 1, "how many migrations to take back")
	return cmd
}

func newMigrateStatusCommand() *cobra.Command {
	return newStoreCommand("status", "Say which version the schema has; 4 if it is not the one that this program needs",
		func(cmd *cobra.Command, c *config.Config) error {
			if err := printSchema(cmd, c); err != nil {
				return err
			}
			if err := migrations.Check(cmd.Context(), c.Store); err != nil {
				return storeFailure(err)
			}
			return nil
		})
}

// newStoreCommand makes a verb that needs to know the store and nothing else.
func newStoreCommand(use, short string, run func(*cobra.Command, *config.Config) error) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.loadStore()
			if err != nil {
				return err
			}
			if c.Store, err = resolvedStore(c.Store); err != nil {
				return err
			}
			return run(cmd, c)
		},
	}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file ($"+configVariable+")")
	cmd.Flags().StringVar(&f.overrides.Store, "store", "", "sqlite:PATH or postgres://… ($ONCEWAY_STORE)")
	return cmd
}

func printSchema(cmd *cobra.Command, c *config.Config) error {
	v, err := migrations.Status(cmd.Context(), c.Store)
	if err != nil {
		return storeFailure(err)
	}
	return writeSchema(cmd.OutOrStdout(), storeTitle(c.Store), v)
}

func writeSchema(out io.Writer, store string, v migrations.SchemaVersion) error {
	state := ""
	if v.Dirty {
		state = ", dirty"
	}
	_, err := fmt.Fprintf(out, "%s: schema version %d of %d%s\n", store, v.Current, v.Latest, state)
	return err
}
