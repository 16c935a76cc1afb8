package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/deploy"
	"github.com/weft-stream/weft/pipeline"
)

// readSpec reads and checks a pipeline file. inReplaced: the source's file need not exist.
func readSpec(file string, inReplaced bool, lease time.Duration) (*pipeline.Pipeline, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, exitWith(exitMissing, fmt.Errorf("read the pipeline: %w", err))
	}
	dir := filepath.Dir(file)
	p, err := pipeline.Parse(file, src, pipeline.Options{
		Stat:       func(name string) (fs.FileInfo, error) { return os.Stat(relativeTo(dir, name)) },
		InReplaced: inReplaced,
		Lease:      lease,
	})
	var problems pipeline.Problems
	if errors.As(err, &problems) {
		err = fmt.Errorf("%s\n%d problem(s) in %s; nothing was started", problems, len(problems), file)
	}
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return pipeline.Fuse(p, func(f *pipeline.Function) string { return deploy.Apart(dir, f) }), nil
}

func relativeTo(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

func newValidate() *cobra.Command {
	var output outputFormat
	var in string
	var verbose bool
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a pipeline file and report all of its problems",
		Long:  "  weft validate pipeline.yaml\n\nCheck a pipeline file: every problem with file:line:column, and nothing is started. Stages that are fused are\njoined by a plus.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := readSpec(args[0], in != "", 0)
			if err != nil {
				return err
			}
			if w := advice(p); w != "" {
				fmt.Fprintln(c.ErrOrStderr(), w)
			}
			return output.print(c.OutOrStdout(), p, func(w io.Writer) {
				fmt.Fprintf(w, "%s: ok: %s\n", args[0], describe(p))
				for _, u := range p.Unfused() {
					if verbose {
						fmt.Fprintf(w, "not fused: %s\n", u)
					}
				}
			})
		},
	}
	c.Flags().StringVar(&in, "in", "", "as weft run has it: the source's own file need not exist")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "say which functions were to be fused and are not, and why")
	output.flag(c)
	return c
}

// advice tells what the guarantee of p does not cover.
func advice(p *pipeline.Pipeline) string {
	for _, s := range p.Stages {
		switch {
		case s.Source == nil:
		case s.Source.Ingress:
			return fmt.Sprintf("note: %s is best-effort: events on their way are lost with a worker, and their callers are told", s.Name)
		case s.Source.HTTP != nil:
			return fmt.Sprintf("note: %s is best-effort: what it has accepted by HTTP is kept in memory, and lost when weft run dies", s.Name)
		case s.Source.Stdin && p.Guarantee == pipeline.AtLeastOnce:
			return fmt.Sprintf("note: %s reads stdin, which can't be read again: at-least-once holds while weft run lives and keeps it", s.Name)
		}
	}
	return ""
}

// describe is the pipeline in a line: in → split → count ×2 → out; fused stages are joined by a plus.
func describe(p *pipeline.Pipeline) string {
	parts := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		parts[i] = s.Name
		for _, f := range s.Fused[min(len(s.Fused), 1):] {
			parts[i] += "+" + f.Name
		}
		if s.Replicas.Min > 1 {
			parts[i] += fmt.Sprintf(" ×%d", s.Replicas.Min)
		}
		if s.Standby > 0 {
			parts[i] += fmt.Sprintf(" (and %d standing by)", s.Standby)
		}
	}
	return strings.Join(parts, " → ")
}
