package weft

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// Begin makes the Handler of one attempt: at the start, and again after a loss, when everything that
// the earlier one gathered is forgotten. Its emit is for the Handler's methods. Its error ends the
// process.
type Begin func(ctx context.Context, emit Emit) (Handler, error)

// ack tells the proxy that this process can stream, and hold a mesh.
const ack = `{"ok":true,"abi":"weft.stream/1","mesh":1}`

// Run serves the action proxy until it closes standard input, and returns then. A process that can't
// go on says why on standard error and exits with status 1.
func Run(begin Begin) {
	if fused != nil {
		fused.join(begin)
		return
	}
	run(begin)
}

func run(begin Begin) {
	syscall.CloseOnExec(3)
	p := &process{begin: begin, in: bufio.NewReader(os.Stdin), results: os.NewFile(3, "results")}
	if err := p.serve(); err != nil {
		fmt.Fprintln(os.Stderr, "weft:", err)
		os.Exit(1)
	}
}

// process answers the lines of an action proxy; one of them turns it to a stream for a while.
type process struct {
	begin   Begin
	in      *bufio.Reader
	results *os.File
	action  *activation // made by the first ordinary activation
}

func (p *process) serve() error {
	if err := p.answer([]byte(ack)); err != nil {
		return fmt.Errorf("acknowledge on file descriptor 3: %w; this program is started by an action proxy", err)
	}
	for {
		line, err := p.in.ReadBytes('\n')
		if len(line) > 0 {
			if err := p.line(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read activation: %w", err)
		}
	}
}

func (p *process) line(line []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return p.answer(failure(fmt.Errorf("decode activation: %w", err)))
	}
	var to struct {
		Socket string
		Mesh   int
	}
	if raw, ok := m["weft"]; ok && json.Unmarshal(raw, &to) == nil && to.Socket != "" {
		if to.Mesh != 0 {
			return meshOver(to.Socket, p.begin)
		}
		return streamOver(to.Socket, p.begin)
	}
	exportEnv(m)
	if p.action == nil {
		a, err := newActivation(p.begin)
		if err != nil {
			return p.answer(failure(err))
		}
		p.action = a
	}
	return p.answer(p.action.run(m["value"]))
}

func (p *process) answer(line []byte) error {
	_, err := p.results.Write(append(line, '\n'))
	return err
}

// exportEnv gives the activation's facts to the function the way OpenWhisk does: __OW_ACTIVATION_ID, …
func exportEnv(m map[string]json.RawMessage) {
	for k, raw := range m {
		var v string
		if k != "value" && json.Unmarshal(raw, &v) == nil {
			_ = os.Setenv("__OW_"+strings.ToUpper(k), v) // fails only for names that no shell could read
		}
	}
}

// activation runs a Handler for ordinary activations, where there is no stream and no end.
type activation struct {
	handler Handler
	ctx     *eventContext
	enc     *encoder
	outputs []json.RawMessage
	failed  error
}

func newActivation(begin Begin) (*activation, error) {
	a := &activation{enc: newEncoder(), ctx: &eventContext{Context: context.Background(), stage: &Stage{}}}
	a.ctx.put = a.put
	var err error
	a.handler, err = start(begin, a.ctx, a.emit)
	return a, err
}

// run answers one activation: no output is {}, one is that object, several are an array.
func (a *activation) run(value json.RawMessage) []byte {
	a.outputs, a.failed = nil, nil
	if len(value) == 0 {
		value = json.RawMessage("{}")
	}
	err := handle(a.handler, a.ctx, &Event{Payload: value})
	if err == nil {
		err = a.failed
	}
	switch {
	case err != nil:
		return failure(err)
	case len(a.outputs) == 0:
		return []byte("{}")
	case len(a.outputs) == 1:
		return a.outputs[0]
	}
	all := []byte{'['}
	for i, out := range a.outputs {
		if i > 0 {
			all = append(all, ',')
		}
		all = append(all, out...)
	}
	return append(all, ']')
}

func (a *activation) emit(out Output) {
	b, err := a.enc.payload(&out)
	if err == nil && out.Payload != nil && !json.Valid(b) { // it becomes part of the activation's result
		err = errors.New("emit: the payload is not valid JSON")
	}
	if err != nil {
		a.failed = err
	} else if b != nil {
		a.outputs = append(a.outputs, append(json.RawMessage(nil), b...))
	}
}

// put takes a frame of fused stages.
func (a *activation) put(f *frame.Frame) {
	if f.Type == frame.Failed {
		var told struct{ Error string }
		_ = json.Unmarshal(f.Key, &told) // it is failure's
		a.failed = errors.New(told.Error)
		return
	}
	a.outputs = append(a.outputs, append(json.RawMessage(nil), f.Payload...))
}

// failure is the one form of an error, in activations and on streams.
func failure(err error) []byte {
	msg, _ := json.Marshal(err.Error()) // a string always encodes
	return append(append([]byte(`{"error":`), msg...), '}')
}

func start(begin Begin, ctx *eventContext, emit Emit) (h Handler, err error) {
	defer caught(&err)
	if h, err = begin(ctx, emit); err != nil {
		return nil, fmt.Errorf("start function: %w", err)
	}
	return h, nil
}

func handle(h Handler, ctx *eventContext, e *Event) (err error) {
	defer caught(&err)
	ctx.event = e
	return h.Event(ctx, e)
}

func end(h Handler, ctx *eventContext) (err error) {
	defer caught(&err)
	ctx.event = nil
	return h.End(ctx)
}

// caught makes a panic an error of the event, and leaves its stack in the log.
func caught(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
		fmt.Fprintf(os.Stderr, "panic: %v\n%s", r, debug.Stack())
	}
}
