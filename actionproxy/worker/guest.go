package worker

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Bounds of guests, which are the containers of an ingress's invocations.
const (
	maxGuests     = 512
	maxGuestCalls = 16      // of one guest at one time; its container takes one activation after the other
	maxEventBytes = 8 << 20 // of one event
)

// The frames between a guest (gate.go) and the ingress's worker, on one stream that the guest opens:
//
//	Hello    from the guest: are you there? Welcome is the answer
//	Data     from the guest: an event; seq is the guest's number of it
//	Data     to the guest: the result of the event with that seq
//	Error    to the guest: the same, when it is {"error": …}

// guests says how the ingress's mesh serves them.
func (d *desk) guests() *quicmesh.Guests {
	return &quicmesh.Guests{Stage: pipeline.IngressName, Most: maxGuests, Serve: d.serve}
}

// guest is one stream of a guest.
type guest struct {
	outbox chan []byte // frames to be written; with room for an answer to all that is asked
	open   atomic.Int64
}

// serve takes a guest's calls until its stream ends or it breaks the rules.
func (d *desk) serve(stream transport.Stream) {
	g := &guest{outbox: make(chan []byte, maxGuestCalls)}
	gone := make(chan struct{})
	var loops sync.WaitGroup
	loops.Go(func() { g.writeLoop(stream, gone) })
	frames := frame.NewReader(stream, maxEventBytes)
	for ok := true; ok; {
		f, err := frames.Next()
		ok = err == nil && g.take(d, &f)
	}
	close(gone)
	stream.Close()
	loops.Wait()
}

// take is one frame of a guest; false: it keeps no rules.
func (g *guest) take(d *desk, f *frame.Frame) bool {
	switch {
	case g.open.Add(1) > maxGuestCalls:
		return false
	case f.Type == frame.Hello:
		g.put(&frame.Frame{Header: frame.Header{Type: frame.Welcome, Seq: f.Seq}})
	case f.Type == frame.Data:
		seq := f.Seq
		d.admit(bytes.Clone(f.Payload), func(result []byte, failed bool) {
			answer := frame.Frame{Header: frame.Header{Type: frame.Data, Seq: seq}, Payload: result}
			if failed {
				answer.Type = frame.Error
			}
			g.put(&answer)
		})
	default:
		return false
	}
	return true
}

// put queues one of the open answers. There is room, unless the guest has gone.
func (g *guest) put(f *frame.Frame) {
	select {
	case g.outbox <- f.Append(nil):
	default:
	}
}

func (g *guest) writeLoop(stream transport.Stream, gone <-chan struct{}) {
	for {
		select {
		case b := <-g.outbox:
			g.open.Add(-1)
			if _, err := stream.Write(b); err != nil {
				return // the reader finds the end as well
			}
		case <-gone:
			return
		}
	}
}
