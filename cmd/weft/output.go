package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// outputFormat is the -o flag.
type outputFormat string

var outputFormats = []string{"table", "json", "yaml"}

func (o *outputFormat) flag(c *cobra.Command) {
	*o = "table"
	c.Flags().VarP(o, "output", "o", "table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

func (o *outputFormat) String() string { return string(*o) }
func (o *outputFormat) Type() string   { return "format" }

// Set refuses what print could not write, before anything is asked or done.
func (o *outputFormat) Set(s string) error {
	if !slices.Contains(outputFormats, s) {
		return fmt.Errorf("want %s", strings.Join(outputFormats, ", "))
	}
	*o = outputFormat(s)
	return nil
}

// print writes v in the chosen form; table writes the one for people.
func (o *outputFormat) print(w io.Writer, v any, table func(io.Writer)) error {
	if *o == "table" {
		table(w)
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil && *o == "yaml" {
		b, err = yaml.JSONToYAML(b)
	}
	if err == nil {
		_, err = fmt.Fprintln(w, strings.TrimRight(string(b), "\n"))
	}
	return exitWith(exitFailed, err)
}
