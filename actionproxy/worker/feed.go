package worker

import (
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// born says that there is another function process, which knows nothing yet. feed serves only the
// process of the last life.
func (w *work) born() (life int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life++
	w.start = true
	return w.life
}

// feeding is what a function gets with one write, and a second one for a large payload.
type feeding struct {
	bytes []byte
	large []byte // what follows; nil: nothing
	free  func() // of large
}

func (f *feeding) release() {
	if f.free != nil {
		f.free()
		f.large, f.free = nil, nil
	}
}

// feed waits for what the function gets next, and writes it behind b as frames: they are copied here,
// since a rollback takes the events away at any time. A large payload stays where it is, kept.
func (w *work) feed(life int, b []byte) (feeding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := feeding{bytes: b}
	for {
		if w.closed || life != w.life {
			return f, errStopped
		}
		n := len(f.bytes)
		if w.start {
			f.bytes = w.restart(f.bytes)
		}
		if w.next(&f); len(f.bytes) > n {
			return f, nil
		}
		w.fed.Wait()
	}
}

// restart begins anew with a function that knows nothing: its events are numbered from 1.
func (w *work) restart(b []byte) []byte {
	w.start, w.ordinal, w.unfed, w.running = false, 0, 0, w.running[:0]
	f := frame.Frame{Header: frame.Header{Type: frame.Start, Attempt: w.attempt}, Payload: w.startBody()}
	return f.Append(b)
}

// next writes the events that were not fed, up to a large one; only one when one of them kills functions.
func (w *work) next(f *feeding) {
	for ; w.unfed < len(w.entries) && f.large == nil; w.unfed++ {
		e := w.entries[w.unfed]
		if e.done {
			continue
		}
		if w.careful > 0 && len(w.running) > 0 {
			break
		}
		if len(w.running) == 0 {
			w.progress = w.now()
		}
		w.ordinal++
		e.ordinal, e.at = w.ordinal, ""
		w.running = append(w.running, e)
		e.feed(f)
	}
}

// feed writes the frame of an event or of the end.
func (e *entry) feed(to *feeding) {
	if e.kind == endEntry {
		f := frame.Frame{Header: frame.Header{Type: frame.End, Attempt: e.attempt}}
		to.bytes = f.Append(to.bytes)
		return
	}
	f := e.item.Frame
	f.Header = frame.Header{Type: frame.Data, Attempt: e.attempt, Seq: e.ordinal, EventTime: f.EventTime}
	if len(f.Payload) < aloneFrom {
		to.bytes = f.Append(to.bytes)
		return
	}
	to.bytes, to.large, to.free = f.AppendHead(to.bytes), f.Payload, e.item.Keep()
}

// died takes back what the function had. One event alone is to blame: it is tried again until it has
// killed the function too often. Of several nobody knows; they are tried one by one.
func (w *work) died(reason string) (blamed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.running {
		w.clear(e)
	}
	if len(w.running) == 1 && w.running[0].kind == eventEntry {
		blamed = w.blame(w.running[0], reason)
	}
	w.careful = 0
	for _, e := range w.running {
		if !e.done {
			w.careful++
			e.watched = true
		}
	}
	w.life++
	w.running, w.start = w.running[:0], true
	w.wakeAll()
	return blamed
}

// blame says whether it was the event; of a fused group that is known when the function has been asked where
// it is.
func (w *work) blame(e *entry, reason string) bool {
	switch {
	case w.fused && !e.watched:
		return false
	case w.fused && e.at != "":
		e.blame(reason)
		return true
	}
	e.history = append(e.history, reason)
	if len(e.history) > w.retries {
		e.failure = outlet.ErrorObject(outlet.Deadly(e.history))
		w.complete(e)
		w.finished++
	}
	return true
}

// progressed is how many events were finished so far.
func (w *work) progressed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished
}

// dismiss ends the feeding of a process that is given up.
func (w *work) dismiss(life int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life == life {
		w.life++
		w.wakeAll()
	}
}
