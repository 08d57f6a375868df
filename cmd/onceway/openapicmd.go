package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/decorate"
	"github.com/onceway/onceway/openapi"
)

func newOpenAPICommand() *cobra.Command {
	return newGroup("openapi", "Print our OpenAPI documents, or decorate a backend's",
		newOpenAPIDecorateCommand(), newOpenAPIReconciliationCommand(), newOpenAPIAdminCommand())
}

func newOpenAPIDecorateCommand() *cobra.Command {
	var f configFlags
	var output string
	cmd := &cobra.Command{
		Use:   "decorate FILE",
		Short: "Add to a backend's OpenAPI document what the gateway adds to its operations",
		Long: "Add to a backend's OpenAPI 3.0 or 3.1 document, in YAML or JSON, what the gateway adds on the operations that the\n" +
			"configuration protects: the key and the other request headers, the problems that the gateway answers with, and the\n" +
			"headers of every answer. Paths count below those of the document's servers. What the document says stays as it is;\n" +
			"where both speak of the same thing, a warning says so. Without a configuration every path is protected, as with\n" +
			"“onceway serve --upstream”. FILE - is standard input.",
		Example: "  onceway openapi decorate backend.yaml --config onceway.yaml -o api.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.loadPart()
			if err != nil {
				return err
			}
			data, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			r, err := decorate.Decorate(data, c)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			for _, note := range r.Notes {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", note)
			}
			if r.Operations == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: the configuration protects no operation of this document; nothing was added\n")
			}
			if output != "" {
				return os.WriteFile(output, r.Document, 0o644)
			}
			_, err = cmd.OutOrStdout().Write(r.Document)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write to (default standard output)")
	return cmd
}

// readInput reads a file, or standard input.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

func newOpenAPIReconciliationCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "reconciliation",
		Short: "Print the document of the API for clients, with the configured base path",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.loadPart()
			if err != nil {
				return err
			}
			const standard = "\n  /_reconcile/v1/" // begins a path
			_, err = io.WriteString(cmd.OutOrStdout(), strings.ReplaceAll(openapi.Reconciliation, standard, "\n  "+c.Reconcile.BasePath+"/"))
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func newOpenAPIAdminCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "admin",
		Short: "Print the document of the API for operators",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), openapi.Admin)
			return err
		},
	}
}
