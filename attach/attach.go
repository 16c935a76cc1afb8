// Package attach is the user's end of a pipeline's files: it answers the hook, which passes on what
// the workers of sources and sinks ask for. A pull reads the source's file at a position; a write
// adds to the sink's. The connection may break and come back; neither loses or repeats a byte.
package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// pullWait bounds how long a pull waits for a stream's next bytes; the worker then asks again.
const pullWait = 5 * time.Second

// retryEvery is the pause between attempts to reach the hook.
const retryEvery = 200 * time.Millisecond

// Config of an Attachment.
type Config struct {
	Hook      string // unix:PATH or tcp:HOST:PORT
	Auth      string // OpenWhisk key
	Namespace string
	Pipeline  string
	Inputs    map[string]Input     // by source stage
	Outputs   map[string]io.Writer // by sink stage
	Dead      io.Writer            // dead letters of all stages
}

// Attachment holds the connection to the hook.
type Attachment struct {
	cfg     Config
	mu      sync.Mutex
	outputs map[string]*output
	dead    *output
	conn    *control.Conn
	why     error         // there is no conn
	changed chan struct{} // closed, and replaced, when conn changes
	broken  chan error    // of one element: the first output that could not be written
}

// New makes an attachment; Run connects it.
func New(cfg Config) *Attachment {
	a := &Attachment{cfg: cfg, outputs: map[string]*output{}, changed: make(chan struct{}), broken: make(chan error, 1)}
	for stage, w := range cfg.Outputs {
		a.outputs[stage] = newOutput(w, "output", a.broken)
	}
	if cfg.Dead != nil {
		a.dead = newOutput(cfg.Dead, "dead letters", a.broken)
	}
	return a
}

// lastWrite is how long the end waits for an output that takes no bytes. A write that blocks in the
// operating system, as to a pipe that nobody reads, ends with the process.
const lastWrite = 2 * time.Second

// Run keeps the pipeline attached until ctx ends. It returns early when the hook refuses the first time;
// later refusals pass, as when the platform can't be asked for the key for a while.
func (a *Attachment) Run(ctx context.Context) error {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writers sync.WaitGroup
	for o := range a.allOutputs() {
		writers.Go(func() { o.writeLoop(writing) })
	}
	defer func() {
		stop()
		written := make(chan struct{})
		go func() { writers.Wait(); close(written) }()
		select {
		case <-written:
		case <-time.After(lastWrite):
		}
	}()
	for accepted := false; ; {
		err := a.once(ctx, &accepted)
		var refused *control.RemoteError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && !accepted:
			return fmt.Errorf("attach to pipeline %s: %w", a.cfg.Pipeline, err)
		}
		a.setConn(nil, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

// allOutputs are the sinks' and the dead letters'.
func (a *Attachment) allOutputs() iter.Seq[*output] {
	return func(yield func(*output) bool) {
		for _, o := range a.outputs {
			if !yield(o) {
				return
			}
		}
		if a.dead != nil {
			yield(a.dead)
		}
	}
}

// once is the life of one connection. It sets accepted when the hook has taken the attachment.
func (a *Attachment) once(ctx context.Context, accepted *bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var pulls sync.WaitGroup
	defer pulls.Wait()
	conn, err := Dial(ctx, a.cfg.Hook, a.cfg.Auth, func(m *control.Message, _ bool, reply func(control.Answer)) {
		a.handle(ctx, &pulls, m, reply)
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer cancel() // before the wait for open pulls
	at := control.Attach{Namespace: a.cfg.Namespace, Pipeline: a.cfg.Pipeline}
	for s := range a.cfg.Inputs {
		at.Sources = append(at.Sources, s)
	}
	for s := range a.cfg.Outputs {
		at.Sinks = append(at.Sinks, s)
	}
	if _, err := conn.Call(ctx, control.TypeAttach, at, nil, nil); err != nil {
		return err
	}
	*accepted = true
	a.setConn(conn, nil)
	select {
	case <-ctx.Done():
	case <-conn.Done():
	}
	return conn.Err()
}

// Dial connects to a hook as a client.
func Dial(ctx context.Context, hook, auth string, h control.Handler) (*control.Conn, error) {
	if h == nil {
		h = func(m *control.Message, _ bool, reply func(control.Answer)) {
			reply(control.Answer{Err: fmt.Errorf("a client has no answer to %q", m.Type)})
		}
	}
	conn, err := control.Dial(ctx, hook, h)
	if err != nil {
		return nil, err
	}
	hello := control.Hello{Version: control.Version, Role: control.RoleClient, Auth: auth}
	if _, err := conn.Call(ctx, control.TypeHello, hello, nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// setConn notes the connection, or why there is none.
func (a *Attachment) setConn(c *control.Conn, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn, a.why = c, why
	close(a.changed)
	a.changed = make(chan struct{})
}

// Attached waits until the hook has taken the attachment.
func (a *Attachment) Attached(ctx context.Context) error {
	for {
		a.mu.Lock()
		conn, why, changed := a.conn, a.why, a.changed
		a.mu.Unlock()
		if conn != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the hook at %s: %w", a.cfg.Hook, cmp.Or(why, ctx.Err()))
		case <-changed:
		}
	}
}

// Broken gives the error of the first output that could not be written: the disk is full, the reader has
// gone. Nothing that workers try again will help.
func (a *Attachment) Broken() <-chan error { return a.broken }

// Call asks the hook over the attachment's connection; ErrClosed while there is none.
func (a *Attachment) Call(ctx context.Context, typ string, body, reply any) error {
	a.mu.Lock()
	conn, why := a.conn, a.why
	a.mu.Unlock()
	if conn == nil {
		return cmp.Or(why, control.ErrClosed)
	}
	_, err := conn.Call(ctx, typ, body, nil, reply)
	return err
}

func (a *Attachment) handle(ctx context.Context, pulls *sync.WaitGroup, m *control.Message, reply func(control.Answer)) {
	var t control.Transfer
	if err := m.Decode(&t); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	switch m.Type {
	case control.TypePull:
		// A pull may wait for a stream's next bytes. The hook has one open per source slot.
		pulls.Go(func() { reply(a.pull(ctx, t)) })
	case control.TypeWrite:
		a.write(a.outputs[t.Slot.Stage], t, m.Blob, reply)
	case control.TypeDead:
		a.write(a.dead, t, m.Blob, reply)
	case control.TypeTrim:
		if in := a.cfg.Inputs[t.Slot.Stage]; in != nil {
			in.Trim(t.Offset)
		}
		reply(control.Answer{})
	default:
		reply(control.Answer{Err: fmt.Errorf("a client has no answer to %q", m.Type)})
	}
}

func (a *Attachment) pull(ctx context.Context, t control.Transfer) control.Answer {
	in := a.cfg.Inputs[t.Slot.Stage]
	if in == nil {
		return control.Answer{Err: fmt.Errorf("no file is attached for source %s", t.Slot.Stage)}
	}
	ctx, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	b := make([]byte, min(max(t.Max, 1), control.MaxMessage/2))
	n, err := in.ReadAt(ctx, b, t.Offset)
	eof := errors.Is(err, io.EOF)
	if err != nil && !eof && !errors.Is(err, context.DeadlineExceeded) {
		return control.Answer{Err: fmt.Errorf("read source %s at %d: %w", t.Slot.Stage, t.Offset, err)}
	}
	return control.Answer{Body: control.TransferReply{EOF: eof && n == 0}, Blob: b[:n]}
}

func (a *Attachment) write(o *output, t control.Transfer, b []byte, reply func(control.Answer)) {
	if o == nil {
		reply(control.Answer{Err: fmt.Errorf("nothing is attached for %s", t.Slot.Stage)})
		return
	}
	o.take(write{t.Slot, t.Incarnation, t.Offset, b, reply})
}
