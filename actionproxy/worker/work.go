package worker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// Bounds of what a function is given before it has finished earlier events, and of what it has made.
const (
	maxWorkEvents = 1024
	maxWorkBytes  = 1 << 20
	maxHeldBytes  = 64 << 20 // outputs of events that are not done, and one more
	maxReadyBytes = 4 << 20  // outputs that wait for credit: beyond it the function isn't read
)

// errStopped ends the loops of a slot, or of a function process, that is stopped.
var errStopped = errors.New("worker: stopped")

// work is what has come in and not left: events that a streaming function has or will get, with the
// outputs they have made so far, and the barriers and the end between them. Entries leave in the order
// they came, each when it is done, so that a barrier never overtakes an event. All methods may be called
// from any goroutine.
type work struct {
	retries int    // deaths that one event may cause beyond the first
	stage   []byte // payload of Start
	now     func() time.Time

	mu       sync.Mutex
	fed      *sync.Cond // feed waits on it; each waiter is woken for its own reason only
	left     *sync.Cond // leaving waits on it
	space    *sync.Cond // add and room wait on it
	entries  []*entry   // not yet given to the sender, oldest first
	unfed    int        // index of the first entry that may have to be fed
	running  []*entry   // with the function: fed and not done, by ordinal
	count    int        // entries that are not sent
	bytes    int        // of their events
	held     int        // bytes of outputs of entries that are not done
	ready    int        // bytes of outputs of entries that are done and not sent
	finished uint64     // events done so far
	ordinal  uint64     // of the last event fed since the last start
	careful  int        // entries to feed one by one, since one of them kills the function
	start    bool       // the function must be told of the attempt first
	life     int        // function processes so far; feed serves the last one
	attempt  frame.Attempt
	last     []byte    // trace of the event finished last
	progress time.Time // when the function last said something, or got an event with none in work
	closed   bool
	fused    bool // the function serves several stages
}

// entry is one thing in work.
type entry struct {
	kind    entryKind
	item    quicmesh.Item // of an event; released by whoever removes the entry
	bytes   int           // of that event
	barrier uint64
	version uint64 // that is valid behind the barrier; 0: the one before it
	attempt frame.Attempt
	ordinal uint64
	done    bool
	outputs []outlet.Output
	bufs    []*buf.Buf // that have outputs' slices
	made    int        // bytes of outputs
	failure []byte     // {"error": …}: the event goes to the error edge
	history []string   // how the function died on it
	within             // what is known of it in fused stages
}

type entryKind uint8

const (
	eventEntry entryKind = iota
	barrierEntry
	endEntry
	ownEntry    // outputs that belong to no event
	bypassEntry // an event that the function doesn't see
)

func newWork(retries int, stage []byte, attempt frame.Attempt) *work {
	w := &work{retries: retries, stage: stage, attempt: attempt, now: time.Now, start: true}
	w.fed, w.left, w.space = sync.NewCond(&w.mu), sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	return w
}

// wakeAll has all who wait look again. The caller holds mu.
func (w *work) wakeAll() {
	w.fed.Broadcast()
	w.left.Broadcast()
	w.space.Broadcast()
}

// close makes all waiting and later calls return errStopped, and releases what is left.
func (w *work) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.drop()
	w.wakeAll()
}

// reset begins an attempt: everything of the old one is forgotten.
func (w *work) reset(a frame.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
	w.attempt, w.start, w.careful = a, true, 0
	w.wakeAll()
}

func (w *work) drop() {
	for _, e := range w.entries {
		w.forget(e)
	}
	w.entries, w.running, w.unfed = nil, nil, 0
}

// add takes an entry in, when there is room for it.
func (w *work) add(e *entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.count > 0 && (w.count >= maxWorkEvents || w.bytes+e.bytes > maxWorkBytes) {
		w.space.Wait()
	}
	if w.closed {
		e.item.Release()
		return errStopped
	}
	w.append(e)
	if e.done {
		w.left.Broadcast()
	} else {
		w.fed.Broadcast()
	}
	return nil
}

func (w *work) append(e *entry) {
	e.attempt = w.attempt
	w.entries = append(w.entries, e)
	w.count++
	w.bytes += e.bytes
}

// forget takes an entry out of the counts and gives its event's buffer back.
func (w *work) forget(e *entry) {
	w.count--
	w.bytes -= e.bytes
	if e.done {
		w.ready -= e.made
	} else {
		w.held -= e.made
	}
	e.item.Release()
	e.freeOutputs()
}

func (e *entry) freeOutputs() {
	for _, b := range e.bufs {
		b.Release()
	}
	e.outputs, e.bufs = nil, nil
}

// output adds an output to the event with its ordinal; 0 means what is oldest in work. Its slices may be in b,
// which it takes over; nil for none.
func (w *work) output(a frame.Attempt, ordinal uint64, o outlet.Output, b *buf.Buf) error {
	if b != nil {
		defer b.Release()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a != w.attempt {
		return nil
	}
	w.progress = w.now()
	e := w.find(ordinal)
	if e == nil && ordinal != 0 {
		return fmt.Errorf("it sent an output of event %d, which is not in work", ordinal)
	}
	if e == nil {
		e = &entry{kind: ownEntry, done: true}
		w.append(e)
		w.left.Broadcast()
	}
	if w.held > maxHeldBytes {
		return fmt.Errorf("it has made more than %d MiB of outputs without finishing an event", maxHeldBytes>>20)
	}
	if o.Failure != nil {
		o.History = e.deaths[string(o.ID)]
	}
	e.outputs = append(e.outputs, o)
	if b != nil {
		b.Retain(1)
		e.bufs = append(e.bufs, b)
	}
	e.made += len(o.Payload)
	if e.done {
		w.ready += len(o.Payload)
	} else {
		w.held += len(o.Payload)
	}
	return nil
}

func (w *work) find(ordinal uint64) *entry {
	if ordinal == 0 && len(w.running) > 0 {
		return w.running[0]
	}
	i, ok := slices.BinarySearchFunc(w.running, ordinal, func(e *entry, o uint64) int {
		return int(int64(e.ordinal - o))
	})
	if !ok {
		return nil
	}
	return w.running[i]
}

// fail finishes an event that failed: payload is {"error": …} and the work's to keep.
func (w *work) fail(a frame.Attempt, ordinal uint64, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a != w.attempt {
		return nil
	}
	e := w.find(ordinal)
	if e == nil || e.kind != eventEntry {
		return fmt.Errorf("it sent an error of event %d, which is not in work", ordinal)
	}
	w.clear(e)
	e.failure = payload
	w.finish(func(other *entry) bool { return other == e })
	return nil
}

// clear drops the outputs of an entry that is not done.
func (w *work) clear(e *entry) {
	w.held -= e.made
	e.freeOutputs()
	e.made, e.failure = 0, nil
}

// done says that an event is finished; with upTo all before it too.
func (w *work) done(a frame.Attempt, ordinal uint64, upTo bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a == w.attempt {
		w.finish(func(e *entry) bool {
			return e.kind == eventEntry && (e.ordinal == ordinal || upTo && e.ordinal < ordinal)
		})
	}
}

// ended says that the function has answered the end of its input.
func (w *work) ended(a frame.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a == w.attempt {
		w.finish(func(e *entry) bool { return e.kind == endEntry })
	}
}

// finish completes entries that the function had. The caller holds mu.
func (w *work) finish(match func(*entry) bool) {
	w.progress = w.now()
	var last *entry
	w.running = slices.DeleteFunc(w.running, func(e *entry) bool {
		if !match(e) {
			return false
		}
		w.complete(e)
		if e.kind == eventEntry {
			last = e
		}
		w.careful = max(0, w.careful-1)
		w.finished++
		return true
	})
	if last != nil && w.traced() == nil { // under load the next one is in work, and nothing is copied
		w.last = append(w.last[:0], outlet.TraceOf(&last.item.Frame)...)
	}
	w.left.Broadcast()
	if w.unfed < len(w.entries) {
		w.fed.Broadcast() // it may wait for the event before
	}
}

func (w *work) complete(e *entry) {
	e.done = true
	w.held -= e.made
	w.ready += e.made
}

// leaving waits for entries that can leave and takes them out. The caller sends each and calls sent.
func (w *work) leaving(into []*entry) ([]*entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.closed {
			return nil, errStopped
		}
		n := 0
		for n < len(w.entries) && w.entries[n].done {
			n++
		}
		if n > 0 {
			into = append(into, w.entries[:n]...)
			w.entries = slices.Delete(w.entries, 0, n)
			w.unfed = max(0, w.unfed-n)
			return into, nil
		}
		w.left.Wait()
	}
}

// sent makes room: the entry's outputs have left, or are of an attempt that has ended.
func (w *work) sent(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(e)
	w.space.Broadcast()
}

// room waits while too many outputs wait for credit.
func (w *work) room() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ready <= maxReadyBytes {
		return
	}
	for !w.closed && w.ready > maxReadyBytes {
		w.space.Wait()
	}
	w.progress = w.now() // it wasn't the function that was slow
}

// trace names the event that the function has had for longest, or finished last: what a function that
// works on one at a time prints is of that one, as far as its proxy knows.
func (w *work) trace() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.traced(); e != nil {
		return string(outlet.TraceOf(&e.item.Frame))
	}
	return string(w.last)
}

// traced is the event that the function has had for longest; nil without one. The caller holds mu.
func (w *work) traced() *entry {
	if len(w.running) == 0 || w.running[0].kind != eventEntry {
		return nil
	}
	return w.running[0]
}

// idle is for how long the function has had events and said nothing; 0 when it has none, or can't say
// anything because nobody takes its outputs.
func (w *work) idle() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) == 0 || w.ready > maxReadyBytes {
		return 0
	}
	return w.now().Sub(w.progress)
}
