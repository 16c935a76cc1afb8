package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/attach"
	"github.com/weft-stream/weft/internal/control"
)

// inspector is what status, why and logs share: the hook is asked with the caller's key.
type inspector struct {
	cluster
	output outputFormat
}

func (n *inspector) flags(c *cobra.Command) {
	n.cluster.flags(c)
	n.cluster.hookFlag(c)
	n.output.flag(c)
	c.ValidArgsFunction = n.names
}

// ask sends one query about a pipeline of the key's namespace.
func (n *inspector) ask(ctx context.Context, typ string, q control.Query, reply any) error {
	client, auth, err := n.client()
	if err != nil {
		return err
	}
	d, err := deployer(ctx, client, ".")
	if err != nil {
		return err
	}
	q.Namespace = d.Namespace
	conn, err := attach.Dial(ctx, n.hookAddress(), auth, nil)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	defer conn.Close()
	_, err = conn.Call(ctx, typ, q, nil, reply)
	return exitWith(exitRefused, err)
}

// names completes the names of pipelines that the hook knows.
func (n *inspector) names(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var st control.Status
	if len(args) > 0 || n.ask(ctx, control.TypeStatus, control.Query{}, &st) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range st.Pipelines {
		out = append(out, p.Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// pipelineArg is the one argument that names a pipeline, or "".
func pipelineArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newStatus() *cobra.Command {
	var n inspector
	c := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show running pipelines, their slots and links",
		Long:  "  weft status wordcount\n\nShow running pipelines: phase, slots, who holds them, what went through.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var st control.Status
			if err := n.ask(c.Context(), control.TypeStatus, control.Query{Pipeline: pipelineArg(args)}, &st); err != nil {
				return err
			}
			if len(args) == 1 && len(st.Pipelines) == 0 {
				return exitWith(exitRefused, fmt.Errorf("no pipeline %q is running or has lately ended", args[0]))
			}
			return n.output.print(c.OutOrStdout(), st, func(w io.Writer) { statusTable(w, st) })
		},
	}
	n.flags(c)
	return c
}

func statusTable(w io.Writer, st control.Status) {
	for _, p := range st.Pipelines {
		fmt.Fprintf(w, "%s/%s: %s, attempt %s, barrier %d, %d restart(s), %d renewal(s), hop p50 %s p99 %s\n", p.Namespace, p.Name,
			p.Phase, p.Attempt, p.Barrier, p.Restarts, p.Renewals, micros(p.HopP50US), micros(p.HopP99US))
		if p.Error != "" {
			label := "error"
			if p.Phase == control.Suspended {
				label = "waits"
			}
			fmt.Fprintf(w, "  %s: %s\n", label, printable(p.Error))
		}
		if p.Stalled != nil {
			fmt.Fprintf(w, "  stalled: %s\n", printable(stall(p.Stalled, time.Now())))
		}
		if p.Change != "" {
			fmt.Fprintf(w, "  under way: %s\n", printable(p.Change))
		}
		if p.GivenUp != "" {
			fmt.Fprintf(w, "  given up: %s\n", printable(p.GivenUp))
		}
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "  SLOT\tSTATE\tVERSION\tINCARNATION\tIN\tOUT\tFAILED\tADDRESS\tPID\tACTIVATION")
		for _, s := range p.Slots {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%d\t%s\n", s.Slot, s.State, s.Action, s.Incarnation, s.In, s.Out, s.Failed, s.Addr, s.PID, s.ActivationID)
			for _, f := range s.Fused {
				fmt.Fprintf(t, "  %s[%d]\tfused with %s\t\t\t%d\t%d\t%d\t\t\t\n", f.Stage, s.Slot.Index, s.Slot.Stage, f.In, f.Out, f.Failed)
			}
		}
		for _, s := range p.StandBys {
			fmt.Fprintf(t, "  %s (stand-by)\t%s\t%s\t\t\t\t\t%s\t\t%s\n", s.Stage, s.State, s.Action, s.Addr, s.ActivationID)
		}
		_ = t.Flush() // the writer below reports its own errors
		for _, s := range p.StandBys {
			if s.Reason != "" {
				fmt.Fprintf(w, "  no stand-by of %s: %s\n", s.Stage, printable(s.Reason))
			}
		}
		for _, u := range p.Unfused {
			fmt.Fprintf(w, "  not fused: %s\n", printable(u))
		}
		linkLines(w, p)
	}
	hookLines(w, st.Hook)
}

// stall says since when nothing can be decided, why, and what comes of it.
func stall(s *control.Stall, now time.Time) string {
	text := fmt.Sprintf("since %s nothing can be decided, for the registry on Kafka can't be written", clock(s.SinceMS))
	switch end := time.UnixMilli(s.LeasesMS); {
	case s.LeasesMS == 0:
	case now.Before(end):
		text += fmt.Sprintf("; events flow until the first lease ends, at %s", clock(s.LeasesMS))
	default:
		text += fmt.Sprintf("; leases have ended since %s, and workers without one wait with what they hold", clock(s.LeasesMS))
	}
	return text + "; all goes on when Kafka answers: " + s.Reason
}

// linkLines tell what links go over, and what is the matter with those that are not up.
func linkLines(w io.Writer, p control.PipelineStatus) {
	over := map[string][]string{}
	for _, s := range p.Slots {
		for _, l := range s.Links {
			carrier := "over " + l.Carrier
			if !l.Up {
				carrier = strings.TrimSuffix("down: "+l.Reason, ": ")
			} else if l.Carrier == "" {
				continue
			}
			over[carrier] = append(over[carrier], fmt.Sprintf("%s → %s", s.Slot, l.To))
		}
	}
	for _, carrier := range slices.Sorted(maps.Keys(over)) {
		if links := over[carrier]; len(links) > mostLinks {
			fmt.Fprintf(w, "  links %s: %s and %d more\n", printable(carrier), strings.Join(links[:mostLinks], ", "), len(links)-mostLinks)
		} else {
			fmt.Fprintf(w, "  links %s: %s\n", printable(carrier), strings.Join(links, ", "))
		}
	}
}

// mostLinks are named in a line; -o json has all.
const mostLinks = 8

// hookLines tell what is unusual about the hook.
func hookLines(w io.Writer, h control.HookStatus) {
	if h.KafkaSilentMS > 0 {
		fmt.Fprintf(w, "hook %s: Kafka has not answered for %s; pipelines go on, and no slot is given away\n", h.Name, time.Duration(h.KafkaSilentMS)*time.Millisecond)
	}
	if h.RingMemory > h.RingLimit/2 {
		fmt.Fprintf(w, "hook %s: links and payloads have %d of %d MiB of memory; beyond it links go over QUIC, and payloads are copied (--ring-memory)\n", h.Name, h.RingMemory>>20, h.RingLimit>>20)
	}
	if h.SkippedKafka > 0 {
		fmt.Fprintf(w, "hook %s: skipped %d message(s) on Kafka that are not of their topic; its log says where\n", h.Name, h.SkippedKafka)
	}
	for _, kind := range slices.Sorted(maps.Keys(h.Refused)) {
		fmt.Fprintf(w, "hook %s: refused %d time(s) for its %s; its log says whom and why\n", h.Name, h.Refused[kind], kind)
	}
}

func newWhy() *cobra.Command {
	var n inspector
	c := &cobra.Command{
		Use:   "why [NAME]",
		Short: "Tell what happened to a pipeline, and for what reason",
		Long:  "  weft why wordcount\n\nTell what happened to a pipeline: restarts, moves, take-overs, each with its reason.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var why control.Why
			if err := n.ask(c.Context(), control.TypeWhy, control.Query{Pipeline: pipelineArg(args)}, &why); err != nil {
				return err
			}
			return n.output.print(c.OutOrStdout(), why, func(w io.Writer) {
				for _, e := range why.Entries {
					fmt.Fprintf(w, "%s  %-12s %-18s %s\n", clock(e.TimeMS), e.Slot, e.What, printable(e.Reason))
				}
			})
		},
	}
	n.flags(c)
	return c
}

func newLogs() *cobra.Command {
	var n inspector
	var follow bool
	var stage, slot string
	c := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a pipeline's functions print",
		Long: `  weft logs wordcount -f --stage split

Print what a pipeline's functions have printed lately, each line with its slot and the trace of the event
in work: its W3C traceparent, or its id. -f goes on until the pipeline ends. With -o json each line is one
object on a line of its own.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q := control.Query{Pipeline: args[0], Stage: stage, Slot: slot}
			for {
				var page control.LogsReply
				err := n.ask(c.Context(), control.TypeLogs, q, &page)
				if follow && c.Context().Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if page.Lost > 0 {
					fmt.Fprintf(c.ErrOrStderr(), "weft: %d lines were lost: the hook keeps only the last ones\n", page.Lost)
				}
				for _, l := range page.Lines {
					if err := n.printLine(c.OutOrStdout(), l); err != nil {
						return err
					}
				}
				if !follow || page.Over {
					return nil
				}
				q.After, q.WaitMS = page.Last, logWait.Milliseconds()
			}
		},
	}
	n.flags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is printed from now on")
	c.Flags().StringVar(&stage, "stage", "", "of this stage only")
	c.Flags().StringVar(&slot, "slot", "", "of this slot only, STAGE[INDEX]")
	return c
}

// logWait is for how long weft logs -f lets the hook wait for a line.
const logWait = 20 * time.Second

func (n *inspector) printLine(w io.Writer, l control.LogLine) error {
	if n.output == "json" {
		return json.NewEncoder(w).Encode(l)
	}
	return n.output.print(w, l, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %-12s %s  %s\n", clock(l.TimeMS), l.Slot, cmp.Or(printable(l.Trace), "-"), printable(l.Text))
	})
}

func clock(ms int64) string { return time.UnixMilli(ms).Format("15:04:05.000") }

// printable replaces what could steer a terminal or turn a text around: control and formatting
// characters. A further line of a text is set in, so that it can't pass for an entry of its own.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
			return r
		}
		return '\uFFFD'
	}, s)
	return strings.ReplaceAll(s, "\n", "\n    ")
}
