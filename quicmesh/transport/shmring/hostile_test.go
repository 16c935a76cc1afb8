package shmring_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

var (
	split = transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "split", Incarnation: 3}
	count = transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "count", Index: 1, Incarnation: 3}
)

// villain is a peer under the test's hand: the raw memory and socket of a ring whose other end is a stream.
type villain struct {
	*shm.Memory
	file   *os.File
	socket *net.UnixConn
	forth  shmring.Words // that the stream reads
	back   shmring.Words // that the stream writes
}

// brokerFunc is a Broker made for one dial.
type brokerFunc func() (shmring.End, error)

func (f brokerFunc) Ring(context.Context, string, transport.Identity, int) (shmring.End, error) {
	return f()
}

func ends(t testing.TB) (near, far shmring.End) {
	t.Helper()
	var err error
	if near.Memory, err = shmring.NewMemory(); err != nil {
		t.Fatal(err)
	}
	if far.Memory, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(near.Memory.Fd())), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if near.Socket, far.Socket, err = shm.Pair(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func newVillain(t testing.TB, e shmring.End) *villain {
	t.Helper()
	v := &villain{file: e.Memory}
	var err error
	if v.Memory, err = shm.Map(e.Memory, shmring.Size); err != nil {
		t.Fatal(err)
	}
	if v.socket, err = shm.Conn(e.Socket); err != nil {
		t.Fatal(err)
	}
	v.forth, v.back = shmring.WordsOf(v.Memory, 0), shmring.WordsOf(v.Memory, 1)
	return v
}

func (v *villain) close() {
	v.socket.Close()
	v.Memory.Close()
	v.file.Close()
}

// against gives an accepted stream and its hostile dialler.
func against(t testing.TB) (transport.Stream, *villain) {
	t.Helper()
	tr := shmring.New(shmring.Config{Self: count})
	near, far := ends(t)
	tr.Offer(split, near)
	s, err := tr.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := newVillain(t, far)
	if _, err := io.ReadFull(v.socket, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(); v.close() })
	return s, v
}

// TestDrained: a stream knows when its peer has read everything, and a peer that unsays it breaks the rules: whoever
// writes then never waits for it.
func TestDrained(t *testing.T) {
	s, v := against(t)
	roomy := transport.RoomyOf(s)
	if !roomy.Drained() {
		t.Error("a new stream is not drained")
	}
	if _, err := s.Write(make([]byte, len(v.back.Data))); err != nil {
		t.Fatal(err)
	}
	if roomy.Drained() {
		t.Error("drained, and nobody has read")
	}
	v.back.Tail.Store(v.back.Head.Load())
	if !roomy.Drained() {
		t.Error("not drained, though everything is read")
	}
	v.back.Tail.Store(0)
	if _, err := s.Write(make([]byte, transport.AtOnce)); !errors.Is(err, shmring.ErrViolation) {
		t.Errorf("a write after the peer has taken its word back: %v", err)
	}
	_ = s.Close()
	if roomy.Drained() {
		t.Error("a closed stream is drained")
	}
}

func TestIndicesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		attack  func(v *villain)
		reading bool // else writing
	}{
		"head beyond the ring":   {func(v *villain) { v.forth.Head.Store(1<<20 + 11) }, true},
		"head far away":          {func(v *villain) { v.forth.Head.Store(1 << 63) }, true},
		"head goes back":         {func(v *villain) { v.forth.Head.Store(5) }, true},
		"tail beyond the head":   {func(v *villain) { v.back.Tail.Store(101) }, false},
		"tail goes back":         {func(v *villain) { v.back.Tail.Store(49) }, false},
		"tail one before nought": {func(v *villain) { v.back.Tail.Store(^uint64(0)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := against(t)
			v.forth.Head.Store(10)
			if n, err := s.Read(make([]byte, 100)); n != 10 || err != nil {
				t.Fatal(n, err)
			}
			if _, err := s.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			v.back.Tail.Store(50)
			if _, err := s.Write(nil); err != nil {
				t.Fatal(err)
			}
			if !c.reading { // the writer must have seen the 50
				if _, err := s.Write(make([]byte, 0)); err != nil {
					t.Fatal(err)
				}
				v.back.Tail.Store(50)
			}
			bystander, friend := against(t)
			var err error
			if c.reading {
				c.attack(v)
				_, err = s.Read(make([]byte, 10))
			} else {
				_, err = s.Write(make([]byte, 0, 1)[:1])
				if err == nil {
					// own head is 101 now
					if name == "tail beyond the head" {
						v.back.Tail.Store(102)
					} else {
						c.attack(v)
					}
					_, err = s.Write([]byte{1})
				}
			}
			if !errors.Is(err, shmring.ErrViolation) {
				t.Errorf("got %v", err)
			}
			friend.forth.Head.Store(3)
			if n, err := bystander.Read(make([]byte, 10)); n != 3 || err != nil {
				t.Errorf("another stream: %d, %v", n, err)
			}
		})
	}
}

func TestDiallerChecksWhatItIsGiven(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(v *villain)
		want   string
	}{
		"refusal":         {func(v *villain) { v.say("nno memory here"); v.socket.Close() }, `refuses the ring: "no memory here"`},
		"nonsense":        {func(v *villain) { v.say("x") }, "instead of go"},
		"gone":            {func(v *villain) { v.socket.Close() }, "before it has taken its end"},
		"no ring":         {func(v *villain) { v.say("g") }, "the memory is no ring"},
		"another version": {func(v *villain) { shmring.WriteHeader(v.Bytes()); v.Bytes()[8]++; v.say("g") }, "it speaks version 4, this slot version 3"},
		"other sizes":     {func(v *villain) { shmring.WriteHeader(v.Bytes()); v.Bytes()[15] = 64; v.say("g") }, "rings of"},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := ends(t)
			v := newVillain(t, far)
			defer v.close()
			tr := shmring.New(shmring.Config{Self: split, Broker: brokerFunc(func() (shmring.End, error) { return near, nil })})
			defer tr.Close()
			c.answer(v)
			if _, err := tr.Dial(t.Context(), "", count); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func (v *villain) say(text string) { _, _ = v.socket.Write([]byte(text)) }

// TestBadMemoryIsRefused: an acceptor that gets something else than a ring's memory says so to the
// dialler, and keeps no descriptor.
func TestBadMemoryIsRefused(t *testing.T) {
	tr := shmring.New(shmring.Config{Self: count})
	defer tr.Close()
	short, err := shm.Create("short", 4096)
	if err != nil {
		t.Fatal(err)
	}
	near, far, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	tr.Offer(split, shmring.End{Memory: short, Socket: near})
	conn, err := shm.Conn(far)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "n") || !strings.Contains(string(text), "4096 bytes") {
		t.Errorf("it says %q, %v", text, err)
	}
}

// TestTruncateIsRefused: the peer can't take the memory away.
func TestTruncateIsRefused(t *testing.T) {
	s, v := against(t)
	for _, size := range []int64{0, 4096, shmring.Size * 2} {
		if err := v.file.Truncate(size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v", size, err)
		}
	}
	v.forth.Head.Store(5)
	if n, err := s.Read(make([]byte, 10)); n != 5 || err != nil {
		t.Errorf("the stream: %d, %v", n, err)
	}
}

// TestWithoutTheDefence is the control run: a reader that checks a length in the shared memory and
// reads it there again is hit.
func TestWithoutTheDefence(t *testing.T) {
	if raceEnabled {
		t.Skip("the reader under attack is a data race by intent")
	}
	_, v := against(t)
	length := (*atomic.Uint32)(v.Word32(4096))
	var over atomic.Bool
	var loop sync.WaitGroup
	loop.Go(func() {
		for i := uint32(0); !over.Load(); i++ {
			length.Store(8 + i&1*1<<30)
		}
	})
	defer loop.Wait()
	defer over.Store(true)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for range 1_000_000 {
			if length.Load() <= 16 { // checked …
				if n := length.Load(); n > 16 { // … and used
					return
				}
			}
		}
	}
	t.Error("the attack does not work on a naive reader: this test shows nothing")
}

// ring is the villain's doorbell.
func (v *villain) ring() {
	v.forth.ReaderSleep.Store(0)
	v.say("d")
}

// wake is the villain's ring for a reader that waits on the word.
func (v *villain) wake() {
	v.forth.ReaderSleep.Store(0)
	_, _, _ = unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(v.forth.ReaderSleep)), 1, 1)
}

// TestHeldReader: who reads alone what comes often sleeps on the word. A peer that wakes it for nothing, or changes the
// word, is looked at seldom, and served still; its going, and our own calls, are seen at once.
func TestHeldReader(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("the reader keeps a processor, the peer needs another one")
	}
	s, v := against(t)
	rousable := transport.RousableOf(s)
	rousable.Alone(true)
	got := make(chan error)
	var read atomic.Uint64
	go func() {
		for b := make([]byte, 8); ; {
			n, err := s.Read(b)
			if read.Add(uint64(n)); n == 0 {
				got <- err
			}
			if err != nil {
				return
			}
		}
	}()
	head := uint64(0)
	until := func(what string, ok func() bool) {
		t.Helper()
		for late := time.Now().Add(patience); !ok(); {
			if time.Now().After(late) {
				t.Fatalf("%s: not within %v", what, patience)
			}
		}
	}
	often := func() {
		until("a held wait", func() bool {
			switch v.forth.ReaderSleep.Load() {
			case 2:
				return true
			case 1:
				head++
				v.forth.Head.Store(head)
				v.ring()
			}
			return false
		})
	}
	often()
	for i, storm := range []func(){v.wake, func() { v.forth.ReaderSleep.Store(7); v.wake() }} {
		before := shmring.Naps(s)
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
			if v.forth.ReaderSleep.Load() != 0 {
				storm()
			}
		}
		if naps := shmring.Naps(s) - before; naps > 300 {
			t.Errorf("storm %d: the reader has looked %d times", i, naps)
		}
		head += 5
		v.forth.Head.Store(head)
		until("5 bytes", func() bool {
			switch v.forth.ReaderSleep.Load() {
			case 1:
				v.ring()
			case 2:
				v.wake()
			}
			return read.Load() == head
		})
		often()
	}
	rousable.Rouse()
	if err := <-got; err != nil {
		t.Fatalf("roused: %v", err)
	}
	often()
	v.socket.Close()
	if err := <-got; !errors.Is(err, shmring.ErrDead) {
		t.Fatalf("the peer has gone: %v", err)
	}
}

// TestDoorbellStorm: a peer that rings for nothing whenever somebody sleeps is looked at seldom, and served
// still.
func TestDoorbellStorm(t *testing.T) {
	s, v := against(t)
	got := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(s, make([]byte, 5))
		got <- err
	}()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		if v.forth.ReaderSleep.Load() != 0 {
			v.ring()
		}
	}
	if naps := shmring.Naps(s); naps > 500 {
		t.Errorf("the reader has looked %d times", naps)
	}
	v.forth.Head.Store(5)
	late := time.After(patience)
	for {
		if v.forth.ReaderSleep.Load() != 0 {
			v.ring()
		}
		select {
		case err := <-got:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatal("the reader sleeps on")
		}
	}
}

// TestBellsForNobody: one ring of the bell too many, or a word that nobody knows, ends the link.
func TestBellsForNobody(t *testing.T) {
	for _, says := range []string{strings.Repeat("d", 50), strings.Repeat("r", 50), "x"} {
		s, v := against(t)
		got := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 5))
			got <- err
		}()
		for late := time.Now().Add(patience); v.forth.ReaderSleep.Load() == 0 && time.Now().Before(late); {
			time.Sleep(time.Millisecond)
		}
		v.say(says)
		select {
		case err := <-got:
			if !errors.Is(err, shmring.ErrViolation) {
				t.Errorf("%q: %v", says, err)
			}
		case <-time.After(patience):
			t.Fatalf("%q: the reader sleeps on", says)
		}
	}
}

// TestBellThatIsNone: whatever else a peer gives for a bell ends the link, and nothing is said on it.
func TestBellThatIsNone(t *testing.T) {
	for name, kind := range map[string]struct{ domain, kind int }{
		"udp": {unix.AF_INET, unix.SOCK_DGRAM}, "tcp": {unix.AF_INET, unix.SOCK_STREAM}, "datagrams": {unix.AF_UNIX, unix.SOCK_DGRAM},
	} {
		s, v := against(t)
		fd, err := unix.Socket(kind.domain, kind.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		bell := os.NewFile(uintptr(fd), name)
		defer bell.Close()
		if _, err := shm.Write(v.socket, []byte("b"), []*os.File{bell}); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 5))
			got <- err
		}()
		select {
		case err := <-got:
			if !errors.Is(err, shmring.ErrViolation) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: it is taken", name)
		}
	}
}
