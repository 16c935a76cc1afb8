// Package process runs one function process the ActionLoop way: a JSON line per activation on its
// standard input, a JSON line per result on its file descriptor 3, what it prints as its log.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// MaxLine bounds a result line, in bytes.
const MaxLine = 64 << 20

const (
	earlyExit = 5 * time.Millisecond   // without an ack: a process that lives longer has started
	grace     = time.Second            // between the end of its input and the kill
	linger    = 100 * time.Millisecond // for what a dead process has written
)

// ErrExited is in the error of an Exchange with a process that has ended.
var ErrExited = errors.New("command exited")

// Config says what to run.
type Config struct {
	Path       string   // executable
	Dir        string   // working directory
	Args       []string // without the program's name
	Env        []string // "K=V"; the whole environment
	User       int      // user and group that the process runs as, see User; 0: the caller's
	WaitForAck bool     // the process writes {"ok":true} to file descriptor 3 when it is ready
	Stdout     io.Writer
	Stderr     io.Writer
}

// Process is a running function process, the leader of its own process group. Its methods may be
// called from many goroutines.
type Process struct {
	cmd     *exec.Cmd
	config  Config
	input   *os.File // its standard input
	results *results // its file descriptor 3
	stdout  *output
	stderr  *output
	abi     string
	mesh    int
	turn    chan struct{} // holds one token; whoever has it may write and read lines, and use the next two

	owed int    // answers to activations that were given up
	line []byte // being written

	group  sync.Mutex
	reaped bool          // the process's id is no longer its own
	done   chan struct{} // closed when the process is reaped and its output forwarded
}

// Start starts a process and waits until it is ready: for its ack, or a moment for early exits. ctx
// bounds the start only.
func Start(ctx context.Context, c Config) (*Process, error) {
	p, err := launch(c)
	if err != nil {
		return nil, err
	}
	err = p.ready(ctx, c.WaitForAck)
	p.give()
	if err != nil {
		p.Kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

// ready waits for the ack. Without need of one it waits only a moment, for an early exit. A function that
// acks all the same had better do it in that moment: later its ack is taken for the first answer, as by
// the stock proxy.
func (p *Process) ready(ctx context.Context, need bool) error {
	if !need {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, earlyExit)
		defer cancel()
	}
	line, err := p.read(ctx)
	switch {
	case errors.Is(err, ErrExited):
		return p.exited()
	case err != nil && !need && errors.Is(err, context.DeadlineExceeded):
		return nil
	case err != nil:
		return fmt.Errorf("wait for the function to say that it is ready: %w", err)
	}
	var ack struct {
		OK   bool   `json:"ok"`
		ABI  string `json:"abi"`
		Mesh int    `json:"mesh"`
	}
	if json.Unmarshal(line, &ack) != nil || !ack.OK {
		return fmt.Errorf(`wait for the function to say that it is ready: got %.80q on file descriptor 3, want {"ok":true}`, line)
	}
	p.abi, p.mesh = ack.ABI, ack.Mesh
	return nil
}

// exited waits for the end and says why.
func (p *Process) exited() error {
	<-p.done
	return fmt.Errorf("%w: %s", ErrExited, p.ExitReason())
}

// ABI is what the process speaks beside lines: "" or "weft.stream/1".
func (p *Process) ABI() string { return p.abi }

// Mesh is the version in which the process can hold a mesh itself; 0: it can't.
func (p *Process) Mesh() int { return p.mesh }

// PID is the process's id, which is its process group's as well.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output has been forwarded.
func (p *Process) Done() <-chan struct{} { return p.done }

// Drain returns when all that the process has printed so far has reached the writers. A line that it
// has not ended is ended for it.
func (p *Process) Drain() {
	p.stdout.drain()
	p.stderr.drain()
}

// SetOutput changes where the process's output goes, from the next line on.
func (p *Process) SetOutput(stdout, stderr io.Writer) {
	p.stdout.set(stdout)
	p.stderr.set(stderr)
}

// Output is where the process's output goes.
func (p *Process) Output() (stdout, stderr io.Writer) { return p.stdout.writer(), p.stderr.writer() }
