package weft

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// Part is one of the stages of a program that serves several.
type Part struct {
	Stage string
	Main  func() // the main function of the stage's own program
}

// Fuse serves stages of which each leads to the next, in one process: an event goes on by a call. It is
// called by programs that the action proxy has made of several stages' code.
func Fuse(parts ...Part) {
	f := &fusion{parts: parts, begun: make(chan Begin), over: make(chan struct{})}
	fused = f
	var mains sync.WaitGroup
	for _, p := range parts {
		returned := make(chan struct{})
		mains.Add(1)
		go func() { // Run keeps it, as it would in a program of its own, until the end
			defer mains.Done()
			defer close(returned)
			p.Main()
		}()
		select {
		case begin := <-f.begun:
			f.begins = append(f.begins, begin)
		case <-returned:
			fmt.Fprintf(os.Stderr, "weft: the main function of stage %s has returned without weft.Run, Map, FlatMap or Reduce\n", p.Stage)
			os.Exit(1)
		}
	}
	run(f.begin)
	close(f.over)
	mains.Wait()
}

// fused is the program's fusion; nil in programs of one stage. It is set before any stage's main is called.
var fused *fusion

type fusion struct {
	parts  []Part
	begins []Begin
	begun  chan Begin    // from the stage whose main function was called last
	over   chan struct{} // closed when the proxy is done with the process
}

// join is a stage's Run.
func (f *fusion) join(begin Begin) {
	select {
	case f.begun <- begin:
	case <-f.over:
	}
	<-f.over
}

// begin makes the Handler of all stages.
func (f *fusion) begin(ctx context.Context, _ Emit) (Handler, error) {
	outer := ctx.(*eventContext)
	c := &chain{put: outer.put, links: make([]*link, len(f.parts))}
	if given := len(outer.stage.Fused); given != 0 && given != len(f.parts) {
		return nil, fmt.Errorf("the program serves %d stages, and Start names %d", len(f.parts), given)
	}
	for i, p := range f.parts {
		stage := &Stage{Name: p.Stage} // all that is known in an ordinary activation
		if len(outer.stage.Fused) > 0 {
			stage = &outer.stage.Fused[i]
			stage.Pipeline, stage.Slot, stage.Replicas = outer.stage.Pipeline, outer.stage.Slot, outer.stage.Replicas
		}
		c.links[i] = &link{chain: c, index: i, ctx: &eventContext{Context: outer.Context, stage: stage, alloc: outer.alloc}, enc: newEncoder()}
		if i > 0 {
			c.links[i-1].next = c.links[i]
		}
	}
	for i, l := range c.links {
		h, err := start(f.begins[i], l.ctx, func(out Output) { l.emit(&out) })
		if err == nil {
			err = l.failed
		}
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", f.parts[i].Stage, err)
		}
		l.handler = h
	}
	return c, nil
}

// chain is a Handler of Handlers. What one emits is kept until its Event has returned: an error drops it, and
// then no further stage may have seen it.
type chain struct {
	enter   func(stage int, f *frame.Frame) error // is told what a stage behind the first gets; its error fails that
	links   []*link
	put     func(*frame.Frame)
	counted []byte
}

// link is one stage.
type link struct {
	chain   *chain
	index   int
	next    *link // nil for the last
	ctx     *eventContext
	handler Handler
	enc     *encoder

	event  Event // the one being handled, unless this is the first stage
	input  *Event
	from   *frame.Frame // input's
	id     []byte       // of event
	made   []made
	out    []byte // payloads and headers of made
	failed error  // first failure of emit in this event
	in     uint32 // events since they were told
	inside uint32 // outputs that have gone to next alone
}

// made is one output of an event. Its payload and headers are parts of link.out, but for a payload that is
// the input's.
type made struct {
	frame.Frame
	same             bool   // payload is the input's
	own              []byte // the output's own payload; nil: it has none
	body, head, tail int    // where its payload and its headers begin and end in link.out
	toNext           bool
	outward          bool
}

func (c *chain) Event(_ context.Context, e *Event) error { return c.links[0].handle(e) }

// End ends one stage after the other: what the first still has to emit is the second's before its own end.
func (c *chain) End(context.Context) error {
	for _, l := range c.links {
		l.begin(&Event{})
		err := end(l.handler, l.ctx)
		if err == nil {
			err = l.failed
		}
		if err != nil {
			return fmt.Errorf("stage %s: %w", l.ctx.stage.Name, err)
		}
		l.from.ID = fmt.Appendf(nil, "%s[%d]:end", l.ctx.stage.Name, l.ctx.stage.Slot)
		l.handOn()
	}
	return nil
}

// counts are what the proxy can't know, since it was told last: of each stage the events that it has got, and
// the outputs that went to the next one alone. Each is 4 bytes.
func (c *chain) counts() []byte {
	if c == nil {
		return nil
	}
	b := c.counted[:0]
	for _, l := range c.links {
		b = binary.LittleEndian.AppendUint32(b, l.in)
		b = binary.LittleEndian.AppendUint32(b, l.inside)
		l.in, l.inside = 0, 0
	}
	c.counted = b
	return b
}

func (l *link) begin(e *Event) {
	l.input, l.from, l.made, l.out, l.failed = e, e.frame(), l.made[:0], l.out[:0], nil
	if cap(l.out) > 1<<20 {
		l.out = nil // one large output shouldn't hold its memory for good
	}
}

// handle runs one event through this stage and those behind it. Its error is this stage's: those of others
// are told where they happen.
func (l *link) handle(e *Event) error {
	l.begin(e)
	l.in++
	err := handle(l.handler, l.ctx, e)
	if err == nil {
		err = l.failed
	}
	if err == nil {
		l.handOn()
	}
	return err
}

// take runs the event that the stage before has made.
func (l *link) take() error {
	if l.chain.enter != nil {
		if err := l.chain.enter(l.index, l.event.f); err != nil {
			l.in++
			return err
		}
	}
	return l.handle(&l.event)
}

// emit keeps an output.
func (l *link) emit(out *Output) {
	if l.handler == nil {
		l.failed = errors.New("emit: only Event and End can emit")
	}
	if l.failed != nil {
		return
	}
	body, same := len(l.out), out.Payload == nil && l.passesOn(out.Value)
	var own []byte
	switch {
	case same:
	case out.Payload != nil:
		if own, l.failed = l.enc.payload(out); l.failed != nil {
			return
		}
	default:
		payload, err := l.enc.encode(out.Value)
		if err != nil {
			l.failed = err
			return
		}
		if payload == nil {
			return
		}
		l.out = append(l.out, payload...)
	}
	if n := len(l.made); n < cap(l.made) {
		l.made = l.made[:n+1]
	} else {
		l.made = append(l.made, made{})
	}
	m := &l.made[len(l.made)-1] // it has been another one: all but what handOn sets is set
	m.body, m.head, m.same, m.own = body, len(l.out), same, own
	m.Type, m.Edge, m.EventTime, m.Key = frame.Data, 0, 0, nil
	m.toNext = l.next != nil && (out.To == "" || out.To == l.next.ctx.stage.Name)
	if m.outward = l.next == nil || out.To == "" && len(l.ctx.stage.Edges) > 0 || !m.toNext; m.outward {
		if m.Edge, l.failed = l.ctx.stage.edge(out.To); l.failed != nil {
			return
		}
		if m.Edge == frame.AllEdges {
			m.Edge -= uint16(l.index)
		}
	}
	if l.out, l.failed = out.describe(&m.Frame, l.out); l.failed != nil {
		return
	}
	m.tail = len(l.out)
}

// passesOn tells whether an output is the input as it came from the stage before, whose encoding it has.
func (l *link) passesOn(v any) bool {
	in, raw := l.input.Payload, rawOf(v)
	return l.index > 0 && len(in) > 0 && len(raw) == len(in) && &raw[0] == &in[0]
}

// handOn sends the outputs of an event that is done, as the proxy would: an output's id is the event's and its
// number, headers and time are the event's unless it has its own.
func (l *link) handOn() {
	for i := range l.made {
		m := &l.made[i]
		m.Payload, m.Headers = l.out[m.body:m.head], l.out[m.head:m.tail]
		switch {
		case m.same:
			m.Payload = l.input.Payload
		case m.own != nil:
			m.Payload = m.own
		}
		if len(m.Headers) == 0 {
			m.Headers = l.from.Headers
		}
		if m.EventTime == 0 {
			m.EventTime = l.from.EventTime
		}
		l.id = strconv.AppendInt(append(append(l.id[:0], l.from.ID...), '/'), int64(i), 10)
		m.ID = l.id
		if m.outward {
			l.chain.put(&m.Frame)
		}
		if !m.toNext {
			continue
		}
		if !m.outward {
			l.inside++
		}
		next := l.next
		next.event.Payload, next.event.f = m.Payload, &m.Frame
		if err := next.take(); err != nil {
			next.fail(err)
		}
	}
}

// fail tells of an event that has failed in this stage: it goes to the stage's error edge.
func (l *link) fail(err error) {
	f := *l.event.f
	f.Type, f.Edge, f.Key = frame.Failed, uint16(l.index), failure(err)
	if len(f.Key) > maxCause {
		f.Key = failure(fmt.Errorf("%.1000s", err.Error()))
	}
	l.chain.put(&f)
}

// maxCause bounds what a key can hold, in bytes.
const maxCause = 0xFFFF

// watch is what the proxy wants of fused stages after a death.
type watch struct {
	Careful int               `json:"careful"` // of so many events it wants to know which stage gets what
	Skip    map[string]string `json:"skip"`    // why stages fail on events that have killed too often, by their ids
}

// watchBy reads it from Start.
func (s *stream) watchBy(start []byte) error {
	s.watch = watch{}
	if err := json.Unmarshal(start, &s.watch); err != nil {
		return fmt.Errorf("decode Start: %w", err)
	}
	if s.watch.Careful > 0 {
		s.chain.enter = s.enter
	}
	return nil
}

// enter tells the proxy what a stage gets, before it does.
func (s *stream) enter(stage int, f *frame.Frame) error {
	if cause, ok := s.watch.Skip[string(f.ID)]; ok {
		return errors.New(cause)
	}
	if s.watch.Careful == 0 {
		return nil
	}
	s.append(&frame.Frame{Header: frame.Header{Type: frame.At, Edge: uint16(stage), Seq: s.seq}, ID: f.ID})
	s.write()
	return nil
}
