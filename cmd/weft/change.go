package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newScale() *cobra.Command {
	var cl cluster
	var output outputFormat
	c := &cobra.Command{
		Use:   "scale NAME STAGE=N...",
		Short: "Change how many workers stages have, while events flow",
		Long: `  weft scale wordcount split=4

Change how many workers stages of a running pipeline have, by its conductor action: within the replicas
that the spec allows, for stages without state. Stages joined by forward have one number. Nothing is lost
or comes twice: senders change over at a barrier, and who leaves does first what it has.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			replicas := map[string]int{}
			for _, a := range args[1:] {
				stage, number, _ := strings.Cut(a, "=")
				n, err := strconv.Atoi(number)
				if stage == "" || err != nil {
					return exitWith(exitUsage, fmt.Errorf("%q: want STAGE=N, for instance split=4", a))
				}
				replicas[stage] = n
			}
			client, _, err := cl.client()
			if err != nil {
				return err
			}
			return conductAndPrint(c, client, args[0], map[string]any{"op": "scale", "replicas": replicas}, &output)
		},
	}
	cl.flags(c)
	output.flag(c)
	return c
}

func newRestart() *cobra.Command {
	var cl cluster
	var output outputFormat
	c := &cobra.Command{
		Use:   "restart NAME [STAGE]",
		Short: "Give a pipeline's workers other containers, one at a time, while events flow",
		Long: `  weft restart wordcount split

Give each worker of a running pipeline, or of one stage of it, another container, by its conductor action:
one at a time, the successor's lease first. Nothing is lost or comes twice.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := cl.client()
			if err != nil {
				return err
			}
			params := map[string]any{"op": "restart"}
			if len(args) == 2 {
				params["stage"] = args[1]
			}
			return conductAndPrint(c, client, args[0], params, &output)
		},
	}
	cl.flags(c)
	output.flag(c)
	return c
}
