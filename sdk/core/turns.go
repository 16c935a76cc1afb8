//go:build cgo

package main

import (
	"encoding/binary"
	"errors"
	"runtime"
	"unsafe"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const (
	leastFrame   = 2 * quicmesh.ReferFrom // bytes of memory for a turn's frame
	referredSize = 16                     // bytes of an address and a length
)

// result of a step.
type result int

const (
	turn result = iota
	over
	again
	wrong
)

// core is a mesh whose function is called elsewhere: each step ends a turn and begins the next one.
type core struct {
	turns   *direct.Turns
	open    bool   // a turn is to be ended
	frame   []byte // the turn's, in memory of C's
	payload []byte // the turn's, if that isn't in frame
	pin     runtime.Pinner
}

func open(socket string) (*core, error) {
	t, err := direct.Take(socket, true)
	if err != nil {
		return nil, err
	}
	return &core{turns: t}, nil
}

func (c *core) close() {
	c.turns.Close()
	c.pin.Unpin()
	drop(c.frame)
}

// step ends the turn with what was made, and waits for the next one.
func (c *core) step(made []byte) result {
	if c.open {
		failure, counts, ok := c.put(made)
		if !ok {
			return wrong
		}
		c.open = false
		err := c.turns.Done(failure, counts)
		c.pin.Unpin()
		if err != nil {
			c.turns.Stop(err)
			return over
		}
	}
	kind, err := c.turns.Next()
	switch {
	case errors.Is(err, direct.ErrWoken):
		return again
	case err != nil:
		c.turns.Stop(err)
		return over
	}
	c.open = true
	c.show(kind)
	return turn
}

// show writes the turn's frame where C can read it.
func (c *core) show(kind direct.Turn) {
	var f frame.Frame
	switch kind {
	case direct.TurnBegin:
		f.Type, f.Payload = frame.Start, c.turns.Begin.Stage
	case direct.TurnEvent:
		f = *c.turns.Event()
	case direct.TurnEnd:
		f.Type = frame.End
	}
	c.payload = nil
	if kind == direct.TurnEvent && len(f.Payload) >= quicmesh.ReferFrom {
		c.payload = f.Payload
		c.pin.Pin(unsafe.SliceData(f.Payload)) // where it was copied
		c.frame = f.AppendHead(memory(c.frame, f.Size()-len(f.Payload)))
		return
	}
	c.frame = f.Append(memory(c.frame, f.Size()))
}

// put takes the frames that the function has made.
func (c *core) put(made []byte) (failure, counts []byte, ok bool) {
	for len(made) > 0 {
		f, n, err := frame.Parse(made)
		if err != nil {
			return nil, nil, false
		}
		made = made[n:]
		switch f.Type {
		case frame.Data, frame.Failed:
			if f.Flags&frame.Refers != 0 {
				if f.Payload, ok = c.referred(f.Payload); !ok {
					return nil, nil, false
				}
			}
			c.turns.Put(&f)
		case frame.Error:
			failure = f.Payload
		case frame.Done, frame.End:
			counts = f.Payload
		}
	}
	return failure, counts, true
}

// referred is the payload at an address that an output has.
func (c *core) referred(b []byte) (payload []byte, ok bool) {
	if len(b) != referredSize {
		return nil, false
	}
	return c.turns.Lies(uintptr(binary.NativeEndian.Uint64(b)), binary.NativeEndian.Uint64(b[8:]))
}

// enter is weft_enter.
func (c *core) enter(b []byte) (why string) {
	f, _, err := frame.Parse(b)
	if err != nil {
		return err.Error()
	}
	return c.turns.Enter(&f)
}
