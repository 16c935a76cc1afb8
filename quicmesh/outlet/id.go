package outlet

import (
	"strconv"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// OutputID is the input's id with the output's index and, where somebody waits for all of them, how many
// there are.
func (o *Outlet) OutputID(b, input []byte, index, of int) []byte {
	b = append(append(b, input...), '/')
	b = strconv.AppendInt(b, int64(index), 10)
	if o.config.Answered && of > 1 {
		b = strconv.AppendInt(append(b, '.'), int64(of), 10)
	}
	return b
}

// CopyID is the id of an event that leaves as so many frames. It is valid until the next call.
func (o *Outlet) CopyID(id []byte, copies int) []byte {
	if copies <= 1 {
		return id
	}
	o.id = strconv.AppendInt(append(append(o.id[:0], id...), 'x'), int64(copies), 10)
	return o.id
}

// Input makes ev the event that came in as f: what its outputs and its letter are made of.
func Input(ev *quicmesh.Event, f *frame.Frame) {
	ev.ID, ev.Key, ev.HasKey, ev.Bypass = f.ID, nil, false, false
	ev.EventTime, ev.Attempt = f.EventTime, f.Attempt
	ev.Headers, ev.Payload = f.Headers, f.Payload
}

// maxTrace bounds an event's name, in bytes.
const maxTrace = 256

// TraceOf names an event as a reader of logs looks for it: by its W3C traceparent, else by its id. What it
// gives is part of the frame.
func TraceOf(f *frame.Frame) []byte {
	trace := f.ID
	if len(f.Headers) == 0 {
		return trace[:min(len(trace), maxTrace)]
	}
	_ = frame.EachHeader(f.Headers, func(name, value []byte) bool { // a broken list has what came before
		if string(name) == "traceparent" {
			trace = value
			return false
		}
		return true
	})
	return trace[:min(len(trace), maxTrace)]
}
