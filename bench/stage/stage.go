// Package stage runs chains of processes: each stage of a compared chain is a process of its own, this
// binary started again with its part of the chain in the environment. The first stage generates the
// load, the last one measures, those between pass each event on.
//
// A stage process writes "ready" when its ends are connected, waits for "go" on standard input, and
// lives until that is closed. The last one writes what it measured, each one its CPU time.
package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/bench/load"
)

// Env is the variable that makes a process a stage; its value is a Config.
const Env = "WEFT_BENCH_STAGE"

// Config is a stage's part of a chain. Index counts from 0; the last is Stages-1.
type Config struct {
	Peer   string    `json:"peer"`
	Index  int       `json:"index"`
	Stages int       `json:"stages"`
	Plan   load.Plan `json:"plan"`
	// Server is the address of a broker, for peers that have one; Names[i] is the channel or address
	// between stage i and i+1.
	Server string   `json:"server,omitempty"`
	Names  []string `json:"names,omitempty"`
	// In and Out are how many descriptors of the ends the process inherits, from 3 on.
	In  int `json:"in,omitempty"`
	Out int `json:"out,omitempty"`
	// CPU pins the process to one core; -1 doesn't.
	CPU int `json:"cpu"`
}

// InName and OutName name the channels of a stage's ends.
func (c *Config) InName() string  { return c.Names[c.Index-1] }
func (c *Config) OutName() string { return c.Names[c.Index] }

// InFile and OutFile are inherited descriptors of the ends.
func (c *Config) InFile(i int) *os.File  { return os.NewFile(uintptr(3+i), "in") }
func (c *Config) OutFile(i int) *os.File { return os.NewFile(uintptr(3+c.In+i), "out") }

// Paced is true for runs at a rate: then each event is sent at once.
func (c *Config) Paced() bool { return c.Plan.Rate > 0 }

// In is where a stage's events come from. Next's bytes are good until the next call; it returns io.EOF
// when nothing more will come. More is true when Next would not wait.
type In interface {
	Next() ([]byte, error)
	More() bool
}

// Out is where they go. Send may keep an event until Flush, and copies it.
type Out interface {
	Send(b []byte) error
	Flush() error
}

// Writer is an Out that has memory for an event to be written in, before the Send of it.
type Writer interface {
	Memory(n int) ([]byte, error)
}

// Finisher is an In that has something to say when all events have come.
type Finisher interface {
	Finish() error
}

// Peer connects a stage's ends: in is nil for the first stage, out for the last. Both are used by one
// goroutine, and go with the process: the parent ends one that takes too long.
type Peer func(ctx context.Context, c *Config) (In, Out, error)

// words is what a stage process writes last.
type words struct {
	Result *load.Result `json:"result,omitempty"`
	Raw    *raw         `json:"raw,omitempty"` // the same, of a stage in another language
	CPU    float64      `json:"cpu"`
	Error  string       `json:"error,omitempty"`
}

// raw is a result with every latency, in nanoseconds.
type raw struct {
	Events  int     `json:"events"`
	Seconds float64 `json:"seconds"`
	SentNS  []int64 `json:"sentNs"`
	DueNS   []int64 `json:"dueNs"`
}

// result is what the last stage measured; nil for others.
func (w *words) result() *load.Result {
	if w.Raw == nil {
		return w.Result
	}
	return &load.Result{Events: w.Raw.Events, Seconds: w.Raw.Seconds, Sent: load.Snapshot(w.Raw.SentNS), Due: load.Snapshot(w.Raw.DueNS)}
}

// Main is the whole of a stage process. It returns the exit code.
func Main(peers map[string]Peer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := run(ctx, peers)
	if err != nil {
		w.Error = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(w) // a parent that has gone needs no words
	if err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // other stages may still need this one's buffers
	return 0
}

func run(ctx context.Context, peers map[string]Peer) (words, error) {
	var c Config
	if err := json.Unmarshal([]byte(os.Getenv(Env)), &c); err != nil {
		return words{}, fmt.Errorf("read the stage's config: %w", err)
	}
	connect := peers[c.Peer]
	if connect == nil {
		return words{}, fmt.Errorf("no peer %q", c.Peer)
	}
	if err := pin(c.CPU); err != nil {
		return words{}, err
	}
	in, out, err := connect(ctx, &c)
	if err != nil {
		return words{}, fmt.Errorf("connect stage %d: %w", c.Index, err)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n'); err != nil {
		return words{}, fmt.Errorf("wait for go: %w", err)
	}
	began := cpuTime()
	result, err := work(ctx, &c, in, out)
	return words{Result: result, CPU: cpuTime() - began}, err
}

// work is the stage's part until its last event.
func work(ctx context.Context, c *Config, in In, out Out) (*load.Result, error) {
	switch {
	case in == nil:
		return nil, generate(ctx, c, out)
	case out == nil:
		return measure(c, in)
	}
	return nil, pass(c, in, out)
}

func generate(ctx context.Context, c *Config, out Out) error {
	send := func(b []byte) error {
		if err := out.Send(b); err != nil || !c.Paced() {
			return err
		}
		return out.Flush()
	}
	var err error
	if w, ok := out.(Writer); ok && c.Plan.Fresh {
		err = c.Plan.GenerateIn(ctx, func() ([]byte, error) { return w.Memory(c.Plan.Payload) }, send)
	} else {
		err = c.Plan.Generate(ctx, send)
	}
	return errors.Join(err, out.Flush())
}

func pass(c *Config, in In, out Out) error {
	for range c.Plan.Warmup + c.Plan.Events {
		b, err := in.Next()
		if err != nil {
			return fmt.Errorf("stage %d: receive: %w", c.Index, err)
		}
		if err := out.Send(b); err != nil {
			return fmt.Errorf("stage %d: send: %w", c.Index, err)
		}
		if c.Paced() || !in.More() {
			if err := out.Flush(); err != nil {
				return fmt.Errorf("stage %d: send: %w", c.Index, err)
			}
		}
	}
	return out.Flush()
}

func measure(c *Config, in In) (*load.Result, error) {
	t := load.NewTaken(c.Plan)
	for {
		b, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("last stage: receive: %w", err)
		}
		done, err := t.Take(b)
		if err == nil && c.Plan.Fresh {
			err = load.Check(b)
		}
		if f, ok := in.(Finisher); ok && done && err == nil {
			err = f.Finish()
		}
		if err != nil {
			return nil, err
		}
		if done {
			r := t.Result()
			return &r, nil
		}
	}
}

// cpuTime is what this process has used, in seconds.
func cpuTime() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(time.Duration(u.Utime.Nano()+u.Stime.Nano())) / 1e9
}

func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to core %d: %w", cpu, err)
	}
	return nil
}
