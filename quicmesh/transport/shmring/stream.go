package shmring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// What the two say on the socket: one byte, and after refused a reason until the socket's end.
const (
	sayGo      = 'g' // acceptor: the memory is ready
	sayRefused = 'n' // acceptor: it can't be used, because
	sayClosed  = 'c' // either: the stream was closed in order
	sayBell    = 'b' // dialler: a bell, one descriptor; an acceptor's comes with its go
	sayBytes   = 'd' // either: wake up, there are bytes; on the bell, if the other has one
	sayRoom    = 'r' // either: wake up, there is room
	sayLent    = 'm' // either: memory, with one descriptor; its number, 4 bytes, follows
)

// lentSize is what is said when memory is lent, in bytes.
const lentSize = 5

// saidMost bounds a reason, in bytes.
const saidMost = 500

// The peer's life.
const (
	alive  = iota
	closed // in order
	dead
	rude // it has rung for nobody, given no bell, or lent against the rules
)

// stream is one end of a ring.
type stream struct {
	peer    transport.Identity
	memory  *shm.Memory
	conn    *net.UnixConn
	out     producer
	in      consumer
	spin    spinner
	thread  bool         // see Config.Thread
	still   bool         // doesn't spin
	alone   atomic.Bool  // see transport.Rousable
	pace    pace         // the reader's
	empty   int          // wakes for nothing, in a row
	naps    atomic.Int64 // sleeps of the reader
	roused  atomic.Bool  // the reader is to return
	bell    *bell        // that the reader sleeps on
	theirs  atomic.Pointer[ringer]
	heard   int64        // rings of bell; the reader's
	ours    atomic.Int64 // of these by ourselves
	from    *shm.Reader  // of conn
	asked   atomic.Int64 // how often reader and writer wanted to be woken
	onClose func()
	take    atomic.Pointer[func(number uint32, f *os.File) error] // of Borrow

	mapping sync.Mutex    // of mapped, taken last
	mapped  bool          // the memory is
	reading sync.Mutex    // held by Read
	writing sync.Mutex    // held by Write
	over    atomic.Bool   // closed by us
	life    atomic.Int32  // of the peer
	watched chan struct{} // closed when the peer's life is over
	read    chan struct{} // closed when, besides, everything it has written is read
	ended   chan struct{} // closed when it is over for us
	room    chan struct{} // of one element: the peer has rung, look for room
	once    sync.Once
}

// open maps an end and takes its descriptors over.
func open(end End, peer transport.Identity, dialler bool) (*stream, error) {
	conn, err := shm.Conn(end.Socket)
	if err != nil {
		_ = end.Memory.Close()
		return nil, err
	}
	s := &stream{peer: peer, conn: conn, onClose: func() {}, watched: make(chan struct{}), read: make(chan struct{}),
		ended: make(chan struct{}), room: make(chan struct{}, 1), from: shm.NewReader(conn)}
	s.pace.gap = paceMost
	s.memory, err = shm.Map(end.Memory, Size)
	s.mapped = err == nil
	if err = errors.Join(err, end.Memory.Close()); err != nil {
		s.refuse(err.Error())
		return nil, err
	}
	first, second := ringOf(s.memory, 0), ringOf(s.memory, 1)
	if dialler {
		s.out.words, s.in.words = first, second
	} else {
		s.in.words, s.out.words = first, second
	}
	var more, most error
	bytes, err := s.newWord(sayBytes)
	s.in.bell, more = s.newWord(sayRoom)
	s.bell, most = newBell(s.awake)
	s.out.bell = func() {
		if r := s.theirs.Load(); r != nil {
			r.ring()
		} else {
			bytes()
		}
	}
	if err = errors.Join(err, more, most); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// reset is the acceptor's first act: the ring is its own until it says go.
func (s *stream) reset() {
	s.in.reset()
	s.out.reset()
	writeHeader(s.memory.Bytes())
}

func (s *stream) sayGo() { s.sayWith(sayGo) }

// sayWith says a word that brings our bell.
func (s *stream) sayWith(word byte) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = shm.Write(s.conn, []byte{word}, []*os.File{s.bell.far.far})
}

// hear takes the peer's bell.
func (s *stream) hear() error {
	f, err := s.from.Next()
	if err != nil {
		return err
	}
	if err := shm.CheckStream(f); err != nil {
		shm.Discard(f)
		return fmt.Errorf("%w: a bell that is none: %w", ErrViolation, err)
	}
	r, err := newRinger(f)
	if err != nil {
		return err
	}
	if !s.theirs.CompareAndSwap(nil, r) {
		r.close()
		return fmt.Errorf("%w: a second bell", ErrViolation)
	}
	return nil
}

// refuse ends a stream that the acceptor can't have.
func (s *stream) refuse(reason string) {
	s.say(append([]byte{sayRefused}, reason[:min(len(reason), saidMost)]...))
	s.discard()
}

// say writes to the socket, which has room: so little is said on it.
func (s *stream) say(b []byte) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = s.conn.Write(b) // who has gone needs no word
}

// awaitGo waits for the acceptor, and looks whether it speaks the same language.
func (s *stream) awaitGo(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	b := make([]byte, 1)
	_, err := io.ReadFull(s.from, b)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the peer does not take its end: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("%w before it has taken its end", ErrDead)
	case b[0] == sayRefused:
		reason, _ := io.ReadAll(io.LimitReader(s.from, saidMost))
		return fmt.Errorf("the peer refuses the ring: %.500q", reason)
	case b[0] != sayGo:
		return fmt.Errorf("%w: it says %#x instead of go", ErrViolation, b[0])
	}
	if err := checkHeader(s.memory.Bytes()); err != nil {
		return err
	}
	if err := s.hear(); err != nil {
		return fmt.Errorf("%w: its go has no bell: %w", ErrViolation, err)
	}
	s.sayWith(sayBell)
	return nil
}

// discard gives up a stream that nobody has used.
func (s *stream) discard() {
	_ = s.conn.Close()
	s.from.Close()
	if s.memory != nil {
		_ = s.memory.Close()
	}
	s.closeBells()
}

func (s *stream) closeBells() {
	if s.bell != nil {
		s.bell.close()
	}
	if r := s.theirs.Load(); r != nil {
		r.close()
	}
}

// Carrier is what streams like this are called.
func (s *stream) Carrier() string { return Name }

func (s *stream) Peer() transport.Identity { return s.peer }

// watch has watchLoop run.
func (s *stream) watch() { go s.watchLoop() }

// watchLoop waits for the peer's bell, and for its end.
func (s *stream) watchLoop() {
	defer s.rouse() // who sleeps looks at life again
	defer close(s.watched)
	defer s.from.Close()
	b := make([]byte, 64)
	for words, have := int64(0), 0; ; {
		n, err := s.from.Read(b[have:])
		said := b[:have+n]
		for len(said) > 0 && (said[0] != sayLent || len(said) >= lentSize) {
			length := 1
			switch said[0] {
			case sayClosed:
				s.life.Store(closed)
				return
			case sayBytes:
				words++
				s.rouse()
			case sayRoom:
				words++
				signal(s.room)
			case sayBell:
				if s.hear() != nil {
					s.life.Store(rude)
					return
				}
			case sayLent:
				length = lentSize
				if !s.lent(binary.LittleEndian.Uint32(said[1:])) {
					s.life.Store(rude)
					return
				}
			default:
				s.life.Store(rude)
				return
			}
			if words > s.asked.Load() {
				s.life.Store(rude)
				return
			}
			said = said[length:]
		}
		have = copy(b, said)
		if err != nil {
			s.life.Store(dead)
			return
		}
	}
}

// lent takes memory that the peer lends.
func (s *stream) lent(number uint32) bool {
	f, err := s.from.Next()
	if err != nil {
		return false
	}
	take := s.take.Load()
	if take == nil {
		shm.Discard(f)
		return false
	}
	return (*take)(number, f) == nil
}

// Borrow is transport.Lender's.
func (s *stream) Borrow(take func(number uint32, f *os.File) error) { s.take.Store(&take) }

// Lend is transport.Lender's.
func (s *stream) Lend(number uint32, f *os.File) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	said := binary.LittleEndian.AppendUint32([]byte{sayLent}, number)
	if _, err := shm.Write(s.conn, said, []*os.File{f}); err != nil {
		return s.fault("lend to", err)
	}
	return nil
}

// newWord makes what wakes the peer by a word on the socket. When that is full it has not heard earlier ones yet:
// then it needs no further one.
func (s *stream) newWord(word byte) (func(), error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("shmring: the socket: %w", err)
	}
	say := []byte{word}
	ring := func(fd uintptr) {
		_, _, _ = syscall.Syscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&say[0])), 1,
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	}
	return func() { _ = raw.Control(ring) }, nil // whatever deadline earlier words have left
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rouse wakes our own reader.
func (s *stream) rouse() {
	s.ours.Add(1)
	s.bell.far.ring()
	s.mapping.Lock()
	defer s.mapping.Unlock()
	if s.mapped {
		s.in.readerSleep.CompareAndSwap(onWord, 0) // a sleeper on the bell has the peer ring it still
		futexWake(s.in.readerSleep)
	}
}

// Rouse is transport.Rousable's.
func (s *stream) Rouse() {
	if !s.roused.Swap(true) {
		s.rouse()
	}
}

// Alone is transport.Rousable's.
func (s *stream) Alone(yes bool) { s.alone.Store(yes) }

// Over is transport.Rousable's.
func (s *stream) Over() <-chan struct{} { return s.watched }

// awake tells whether there is a reason not to sleep.
func (s *stream) awake() bool {
	return s.in.head.Load() != s.in.own || s.roused.Load() || s.over.Load() || s.life.Load() != alive
}

// wanted asks to be woken.
func (s *stream) wanted(word *atomic.Uint32) {
	s.asked.Add(1)
	word.Store(onBell)
}

// Read copies out what has come: at least one byte, if nobody rouses it.
func (s *stream) Read(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for waited := false; ; waited = true {
		if s.over.Load() {
			return 0, s.fault("read from", transport.ErrClosed)
		}
		life := s.life.Load() // before looking: what was written before the end is read before it
		n, err := s.in.get(b)
		switch {
		case err != nil:
			return 0, s.fault("read from", err)
		case n > 0:
			s.empty = 0
			if waited {
				s.pace.came()
			}
			return n, nil
		case len(b) == 0:
			return 0, nil
		case life != alive:
			s.allRead()
			if life == closed {
				return 0, io.EOF
			}
			return 0, s.fault("read from", endOf(life))
		case s.roused.Load():
			s.roused.Store(false)
			return 0, nil
		}
		s.awaitBytes()
	}
}

// allRead notes that nothing more comes. The caller holds reading.
func (s *stream) allRead() {
	select {
	case <-s.read:
	default:
		close(s.read)
	}
}

// readOut waits until the reader has found the stream's end, not longer than wait.
func (s *stream) readOut(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.read:
	case <-s.ended:
	case <-timer.C:
	}
}

// awaitBytes waits until something may have come.
func (s *stream) awaitBytes() {
	alone := s.alone.Load()
	s.bell.thread = s.thread && alone // a goroutine that reads has no thread of its own
	switch {
	case s.bell.thread: // holding would switch threads twice, and keep the processor from Go's other work
	case alone:
		if s.hold() {
			return
		}
	case !s.still && s.spin.watch(s.in.head, s.in.own):
		return
	}
	word := s.in.readerSleep
	s.wanted(word)
	if s.awake() {
		word.Store(0)
		return
	}
	s.naps.Add(1)
	if s.heard += int64(s.bell.sleep()); s.heard > s.asked.Load()+s.ours.Load() {
		s.life.Store(rude)
	}
	word.Store(0)
	s.woken()
}

// woken is the end of a sleep.
func (s *stream) woken() {
	if s.in.head.Load() != s.in.own || s.roused.Load() {
		s.empty = 0
		return
	}
	// Nobody in order wakes for nothing twice. Who does it all the time gets slow service.
	if s.empty++; s.empty > calmWakes {
		time.Sleep(time.Millisecond << min(s.empty-calmWakes, 4))
	}
}

// Write copies b into the ring, as there is room.
func (s *stream) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	written := 0
	for {
		switch {
		case s.over.Load():
			return written, s.fault("write to", transport.ErrClosed)
		case s.life.Load() == closed:
			return written, s.fault("write to", io.ErrClosedPipe)
		case s.life.Load() != alive:
			return written, s.fault("write to", endOf(s.life.Load()))
		case written == len(b):
			return written, nil
		}
		n, err := s.out.put(b[written:])
		if err != nil {
			return written, s.fault("write to", err)
		}
		if written += n; n == 0 {
			s.awaitRoom()
		}
	}
}

// Drained is transport.Roomy's. A write that is under way isn't waited for. A peer that takes back what it has said
// of its tail meanwhile doesn't have the next Write wait, but fail.
func (s *stream) Drained() bool {
	if !s.writing.TryLock() {
		return false
	}
	defer s.writing.Unlock()
	if s.over.Load() {
		return false // the memory may be gone
	}
	free, err := s.out.free()
	return err == nil && free == len(s.out.data)
}

// awaitRoom waits until the peer may have read.
func (s *stream) awaitRoom() {
	word := s.out.writerSleep
	s.wanted(word)
	if s.out.tail.Load() == s.out.seen && !s.over.Load() && s.life.Load() == alive {
		select {
		case <-s.room:
		case <-s.watched:
		case <-s.ended:
		}
	}
	word.Store(0)
}

// Close ends both directions and gives the memory back.
func (s *stream) Close() error {
	s.end(true)
	return nil
}

// drop is Close of a transport's end: what the peer has not read yet may be lost to it.
func (s *stream) drop() { s.end(false) }

func (s *stream) end(inOrder bool) {
	s.once.Do(func() {
		s.over.Store(true)
		close(s.ended)
		if inOrder {
			s.say([]byte{sayClosed})
		}
		_ = s.conn.Close()
		s.rouse()
		<-s.watched
		s.reading.Lock()
		s.writing.Lock()
		s.mapping.Lock()
		s.mapped = false
		s.mapping.Unlock()
		_ = s.memory.Close() // nobody touches it any more
		s.closeBells()
		s.writing.Unlock()
		s.reading.Unlock()
		s.onClose()
	})
}

// endOf is the error of a life that has not ended in order.
func endOf(life int32) error {
	if life == rude {
		return fmt.Errorf("%w: it rings when nobody sleeps, gives a bell that is none, lends against the rules, or says what nobody knows", ErrViolation)
	}
	return ErrDead
}

func (s *stream) fault(what string, err error) error {
	return fmt.Errorf("shmring: %s %v: %w", what, s.peer, err)
}
