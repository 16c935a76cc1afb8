package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Pipelines of OpenWhisk actions that talk to each other directly",
		Long: `  weft run examples/wordcount/pipeline.yaml --in book.txt

Weft runs pipelines of ordinary OpenWhisk actions as long-lived workers that stream events to each
other directly. weft run does all of it on this machine; weft up gives you the platform; the other
commands work against any OpenWhisk.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddCommand(newRun(), newUp(), newDeploy(), newStart(), newStop(), newScale(), newRestart(), newStatus(), newWhy(), newLogs(),
		newValidate(), newImages(), newCompare(), newVersion())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Long = "  source <(weft completion bash)\n\n" + c.Long
			for _, shell := range c.Commands() {
				shell.Long = "  weft completion " + shell.Name() + "\n\n" + shell.Long
			}
		}
	}
	return root
}

func newVersion() *cobra.Command {
	var output outputFormat
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "  weft version\n\nPrint the version.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return output.print(c.OutOrStdout(), map[string]string{"version": version}, func(w io.Writer) {
				fmt.Fprintln(w, "weft", version)
			})
		},
	}
	output.flag(c)
	return c
}
