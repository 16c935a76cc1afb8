// Command weft-compare runs Weft beside what a user would use instead, in one run; weft compare executes
// it. It starts itself again as the stages of chains, and as a NATS server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weft-stream/weft/bench/compare"
	"github.com/weft-stream/weft/bench/peer"
	"github.com/weft-stream/weft/bench/report"
	"github.com/weft-stream/weft/bench/stage"
)

const usage = `  weft compare --quick
  weft compare --html report.html --json report.json

Run the same load through Weft and through what a user would use instead, on this machine, in one run:
Apache Kafka, NATS, JetStream, gRPC, HTTP, Apache Flink, OpenWhisk's sequences and conductors, and the
machine's own means. It takes all of the machine for as long as it runs.

Flags:
`

func main() {
	if os.Getenv(stage.Env) != "" {
		os.Exit(stage.Main(peer.Stages()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := command
	if os.Getenv(compare.EnvNATS) != "" {
		run = func(ctx context.Context, _ []string) error { return compare.ServeNATS(ctx) }
	}
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "weft compare:", err)
		var wrong *usageError
		if errors.As(err, &wrong) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// usageError is a flag that can't be.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

type settings struct {
	compare.Options
	output     string
	html, json string // files
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("weft compare", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	var rows string
	f.BoolVar(&s.Quick, "quick", false, "every row once, in under 5 minutes")
	f.IntVar(&s.Repeats, "repeats", 0, "interleaved repeats (default 5, with --quick 1)")
	f.StringVar(&rows, "rows", "", "only these rows, separated by commas")
	f.StringVar(&s.Kafka, "kafka", "", "a Kafka broker of yours, HOST:PORT (default: one of its own)")
	f.StringVar(&s.APIHost, "apihost", "", "an OpenWhisk of yours (default: the embedded platform, labelled as such)")
	f.StringVar(&s.Auth, "auth", "", "its key, uuid:key")
	f.BoolVar(&s.Insecure, "insecure", false, "accept any certificate of it")
	f.StringVar(&s.output, "o", "table", "table, json or markdown, on standard output")
	f.StringVar(&s.html, "html", "", "write the report with plots to this file, too")
	f.StringVar(&s.json, "json", "", "write everything that was measured to this file, too")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, &usageError{err}
	}
	if rows != "" {
		s.Only = strings.Split(rows, ",")
	}
	switch {
	case f.NArg() > 0:
		return nil, &usageError{fmt.Errorf("it takes no argument %q", f.Arg(0))}
	case s.output != "table" && s.output != "json" && s.output != "markdown":
		return nil, &usageError{fmt.Errorf("-o %s: want table, json or markdown", s.output)}
	case s.APIHost != "" && s.Auth == "":
		return nil, &usageError{errors.New("--apihost needs --auth")}
	}
	return s, nil
}

func command(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.Weft, s.Proxy = filepath.Join(filepath.Dir(self), "weft"), filepath.Join(filepath.Dir(self), "actionproxy")
	for _, program := range []string{s.Weft, s.Proxy} {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("%w: make build puts it beside this program", err)
		}
	}
	if s.Dir, err = os.MkdirTemp("", "weft-compare-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.Dir)
	s.Progress = func(text string) { fmt.Fprintln(os.Stderr, "weft compare:", text) }
	r, err := compare.Do(ctx, s.Options)
	if err != nil {
		return err
	}
	r.Command = strings.Join(append([]string{"weft compare"}, args...), " ")
	return write(s, r)
}

func write(s *settings, r *compare.Run) error {
	show := map[string]show{"table": report.Table, "json": report.JSON, "markdown": report.Markdown}[s.output]
	return errors.Join(show(os.Stdout, r), toFile(s.html, report.HTML, r), toFile(s.json, report.JSON, r))
}

// show is a form of a report.
type show func(io.Writer, *compare.Run) error

func toFile(path string, show show, r *compare.Run) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(show(f, r), f.Close())
}
