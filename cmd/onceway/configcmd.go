package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
)

func newConfigCommand() *cobra.Command {
	return newGroup("config", "Check, print or describe the configuration",
		newConfigCheckCommand(), newConfigPrintCommand(), newConfigSchemaCommand())
}

func newConfigCheckCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the configuration",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.loadToServe()
			if err != nil {
				return err
			}
			for _, w := range c.Warnings() {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ok: %d routes, %d upstreams\n", len(c.Routes), len(c.Upstreams))
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func newConfigPrintCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration, defaults and overrides included, without passwords",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(c.YAML())
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func newConfigSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}
