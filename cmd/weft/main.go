// Command weft runs pipelines of OpenWhisk actions that talk to each other directly: on this machine
// with the embedded platform, or on an OpenWhisk cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signal.Ignore(syscall.SIGPIPE) // whoever reads our output has gone: an error like others, and the run is taken down
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newRoot().ExecuteContext(ctx)
	os.Exit(report(err, ctx.Err() != nil))
}

// Exit codes, as the README's table has them.
const (
	exitOK          = 0
	exitFailed      = 1   // the pipeline failed
	exitUsage       = 2   // a wrong flag or argument, or a spec with problems
	exitUnreachable = 3   // platform, hook or Kafka can't be reached
	exitRefused     = 4   // the platform answered with an error
	exitMissing     = 5   // something this machine needs is missing or taken: a file, Python, a port
	exitInterrupted = 130 // Ctrl-C
)

// exitError carries the exit code that goes with an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitWith(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// report prints err on stderr and gives the exit code.
func report(err error, interrupted bool) int {
	if err == nil {
		return exitOK
	}
	if interrupted {
		fmt.Fprintln(os.Stderr, "weft: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "weft:", err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitUsage // what cobra itself finds: flags and arguments
}
