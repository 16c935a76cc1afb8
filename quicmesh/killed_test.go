package quicmesh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// The child of TestKilledProcess is the slot m. Its files after the usual are a socket to the test, who is its
// broker, and its progress.
const childEnv = "WEFT_TEST_MESH_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	progressBytes  = 4096
	killedEvents   = 12_000
	eventsABarrier = 100
)

var (
	killedA = slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
	killedM = slotIdentity(quicmesh.Slot{Stage: "m"}, 1)
	killedZ = slotIdentity(quicmesh.Slot{Stage: "z"}, 1)
)

// What test and child say: a kind and a number, perhaps with the two descriptors of a ring's end.
const (
	sayOffer = 'o' // to the child: a wants to share a ring
	sayRing  = 'r' // from the child: it wants one with z, on a lane; to it: here it is
	sayLost  = 'l' // from the child: frames are lost
)

// line is one end of the socket between them.
type line struct {
	conn   *net.UnixConn
	reader *shm.Reader
	mu     sync.Mutex // of writes
}

func newLine(f *os.File) (*line, error) {
	conn, err := shm.Conn(f)
	if err != nil {
		return nil, err
	}
	return &line{conn: conn, reader: shm.NewReader(conn)}, nil
}

func (l *line) say(kind byte, number int, end *shmring.End) error {
	var files []*os.File
	if end != nil {
		files = []*os.File{end.Memory, end.Socket}
		defer end.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := shm.Write(l.conn, binary.LittleEndian.AppendUint64(nil, uint64(kind)<<32|uint64(number)), files)
	return err
}

func (l *line) hear(files int) (kind byte, number int, end shmring.End, err error) {
	b := make([]byte, 8)
	if _, err = io.ReadFull(l.reader, b); err != nil {
		return
	}
	word := binary.LittleEndian.Uint64(b)
	kind, number = byte(word>>32), int(uint32(word))
	if files > 0 {
		got, err := l.reader.Take(files)
		if err != nil {
			return 0, 0, end, err
		}
		end = shmring.End{Memory: got[0], Socket: got[1]}
	}
	return kind, number, end, nil
}

// childBroker asks the test for rings.
type childBroker struct {
	*line
	mu   sync.Mutex // one at a time
	came chan shmring.End
}

func (b *childBroker) Ring(ctx context.Context, _ string, _ transport.Identity, lane int) (shmring.End, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.say(sayRing, lane, nil); err != nil {
		return shmring.End{}, err
	}
	return <-b.came, nil
}

// child passes on what comes, until it is killed.
func child() error {
	l, err := newLine(os.NewFile(3, "line"))
	if err != nil {
		return err
	}
	memory, err := shm.Map(os.NewFile(4, "progress"), progressBytes)
	if err != nil {
		return err
	}
	broker := &childBroker{line: l, came: make(chan shmring.End, 1)}
	rings := shmring.New(shmring.Config{Self: killedM, Addr: "m", Broker: broker})
	go func() {
		for {
			kind, _, end, err := l.hear(2)
			switch {
			case err != nil:
				os.Exit(1)
			case kind == sayOffer:
				rings.Offer(killedA, end)
			default:
				broker.came <- end
			}
		}
	}()
	m, err := quicmesh.New(quicmesh.Config{
		Self: killedM, Attempt: 1, Transport: rings, Progress: memory.Bytes(),
		In:   []quicmesh.InEdge{{ID: 0, From: "a", Routing: route.Forward, Replicas: 1}},
		Out:  []quicmesh.OutEdge{{ID: 1, To: "z", Routing: route.Forward, Replicas: 1}},
		Lost: func(_ uint16, _ quicmesh.Slot, frames uint64) { _ = l.say(sayLost, int(frames), nil) },
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := m.Open(ctx); err != nil {
		return err
	}
	m.SetPeers([]quicmesh.Peer{{Stage: "z", Incarnation: 1, Addr: "z"}})
	m.Accept()
	items := make([]quicmesh.Item, 0, 20)
	for {
		if items, err = m.Receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			it := &items[i]
			switch it.Kind {
			case quicmesh.KindEvent:
				err = m.Send(ctx, 1, &quicmesh.Event{ID: it.Frame.ID, Payload: it.Frame.Payload})
			case quicmesh.KindBarrier:
				err = m.SwitchOf(ctx, it.Attempt, it.Barrier, it.Version)
			case quicmesh.KindEnd:
				err = m.EndOf(ctx, it.Attempt)
			}
			if err != nil {
				return err
			}
			it.Release()
		}
	}
}

// killer is the test's side: the broker of all, and the parent of m's processes.
type killer struct {
	t        *testing.T
	progress *os.File
	done     *shm.Memory // progress, as the test sees it
	z        *shmring.Transport

	mu      sync.Mutex
	memory  map[string]*os.File // of rings, by lane
	child   *line               // nil while there is none
	changed chan struct{}
	process *exec.Cmd
	ended   chan struct{} // the process's line has ended
}

// ends of a ring: the same lane has the same memory.
func (k *killer) ends(lane string) (near, far shmring.End, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	memory := k.memory[lane]
	if memory == nil {
		if memory, err = shmring.NewMemory(); err != nil {
			return near, far, err
		}
		k.memory[lane] = memory
	}
	if near.Memory, err = shm.Duplicate(memory); err == nil {
		far.Memory, err = shm.Duplicate(memory)
	}
	if err == nil {
		near.Socket, far.Socket, err = shm.Pair()
	}
	return near, far, err
}

// Ring is a's way to m.
func (k *killer) Ring(ctx context.Context, _ string, _ transport.Identity, lane int) (shmring.End, error) {
	for {
		k.mu.Lock()
		child, changed := k.child, k.changed
		k.mu.Unlock()
		if child != nil {
			near, far, err := k.ends(fmt.Sprint("a", lane))
			if err != nil {
				return near, err
			}
			return near, child.say(sayOffer, lane, &far)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return shmring.End{}, ctx.Err()
		}
	}
}

// start has m live.
func (k *killer) start() {
	near, far, err := shm.Pair()
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=m")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{far, k.progress}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	far.Close()
	l, err := newLine(near)
	if err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for k.serve(l) {
		}
	}()
	k.process, k.ended = cmd, ended
	k.set(l)
}

func (k *killer) set(l *line) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.child = l
	close(k.changed)
	k.changed = make(chan struct{})
}

// serve answers one request of m's.
func (k *killer) serve(l *line) bool {
	kind, number, _, err := l.hear(0)
	switch {
	case err != nil:
		return false
	case kind == sayLost:
		k.t.Errorf("%d frames are lost", number)
		return true
	}
	near, far, err := k.ends(fmt.Sprint("z", number))
	if err != nil {
		k.t.Error(err)
		return false
	}
	k.z.Offer(killedM, far)
	return l.say(sayRing, number, &near) == nil
}

// kill kills m, and tells up to which number it was done with what a has sent.
func (k *killer) kill() uint64 {
	_ = k.process.Process.Kill()
	_ = k.process.Wait()
	k.mu.Lock()
	l := k.child
	k.mu.Unlock()
	k.set(nil)
	l.conn.Close()
	<-k.ended
	return quicmesh.DoneIn(k.done.Bytes(), 0, 0, 1)
}

// numberOf event i is that of its frame on a's link: there are barriers between.
func numberOf(i int) uint64 { return uint64(i + i/eventsABarrier + 1) }

// TestKilledProcess kills the process of the slot between a source and a sink with SIGKILL, at any point, over
// rings. Everything arrives, in order; twice comes only what was not done.
func TestKilledProcess(t *testing.T) {
	k := &killer{t: t, memory: map[string]*os.File{}, changed: make(chan struct{})}
	var err error
	if k.progress, err = shm.Create("progress", progressBytes); err != nil {
		t.Fatal(err)
	}
	again, err := shm.Duplicate(k.progress)
	if err != nil {
		t.Fatal(err)
	}
	if k.done, err = shm.Map(again, progressBytes); err != nil {
		t.Fatal(err)
	}
	defer func() {
		shm.CloseAll([]*os.File{again, k.progress})
		for _, f := range k.memory {
			f.Close()
		}
		k.done.Close()
	}()
	k.z = shmring.New(shmring.Config{Self: killedZ, Addr: "z"})
	rings := shmring.New(shmring.Config{Self: killedA, Addr: "a", Broker: k})
	a := k.mesh(quicmesh.Config{Self: killedA, Transport: rings, Out: []quicmesh.OutEdge{{ID: 0, To: "m", Routing: route.Forward, Replicas: 1}}})
	z := k.mesh(quicmesh.Config{Self: killedZ, Transport: k.z, In: []quicmesh.InEdge{{ID: 1, From: "m", Routing: route.Forward, Replicas: 1}}})
	a.SetPeers([]quicmesh.Peer{{Stage: "m", Incarnation: 1, Addr: "m"}})
	z.Accept()
	k.start()
	barriers := make(chan uint64, killedEvents)
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { sent <- feedKilled(ctx, a, barriers) }()
	killed, twice := k.drain(z, barriers)
	cancel()
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	k.kill()
	t.Logf("killed %d times, %d of %d events came twice", killed, twice, killedEvents)
	if killed < 5 || twice > killedEvents/2 {
		t.Errorf("killed %d times, %d events came twice", killed, twice)
	}
	a.Close()
	z.Close()
	rings.Close()
	k.z.Close()
}

func (k *killer) mesh(c quicmesh.Config) *quicmesh.Mesh {
	c.Attempt = 1
	m, err := quicmesh.New(c)
	if err == nil {
		err = m.Open(context.Background())
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return m
}

// feedKilled sends small events and some that are larger than the ring's back has room for, with barriers.
func feedKilled(ctx context.Context, a *quicmesh.Mesh, barriers <-chan uint64) error {
	passed := uint64(0)
	small, large := strings.Repeat("x", 200), strings.Repeat("y", 200_000)
	for i := range killedEvents {
		text := fmt.Sprintf("%d:%s", i, small[:i%200])
		if i%500 == 250 {
			text += large
		}
		if err := a.Send(ctx, 0, &quicmesh.Event{Payload: []byte(text)}); err != nil {
			return err
		}
		if (i+1)%eventsABarrier != 0 {
			continue
		}
		number := uint64((i + 1) / eventsABarrier)
		for number > passed+2 {
			select {
			case passed = <-barriers:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := a.Barrier(ctx, number); err != nil {
			return err
		}
	}
	return a.End(ctx)
}

// drain is the sink, and kills after some events each.
func (k *killer) drain(z *quicmesh.Mesh, barriers chan<- uint64) (killed, twice int) {
	next, barrier, done := 0, uint64(0), uint64(0)
	kill := 100
	items := make([]quicmesh.Item, 0, 20)
	for {
		var err error
		if items, err = z.Receive(k.t.Context(), items); err != nil {
			k.t.Error(err)
			return killed, twice
		}
		for i := range items {
			it := &items[i]
			switch it.Kind {
			case quicmesh.KindEvent:
				var number int
				if _, err := fmt.Sscanf(string(it.Frame.Payload[:min(10, len(it.Frame.Payload))]), "%d:", &number); err != nil {
					k.t.Error(err)
				}
				switch {
				case number > next:
					k.t.Errorf("event %d comes after %d", number, next-1)
					return killed, twice
				case number == next:
					next++
				case numberOf(number) > done:
					twice++
				default:
					k.t.Errorf("event %d comes twice, and was done", number)
				}
			case quicmesh.KindBarrier:
				if it.Barrier != barrier+1 || next < int(it.Barrier)*eventsABarrier {
					k.t.Errorf("barrier %d comes behind barrier %d and %d events", it.Barrier, barrier, next)
				}
				barrier = it.Barrier
				barriers <- barrier
			case quicmesh.KindEnd:
				if next != killedEvents || barrier != killedEvents/eventsABarrier {
					k.t.Errorf("the end comes behind %d events and %d barriers", next, barrier)
				}
				return killed, twice
			}
			it.Release()
			if next >= kill {
				kill = next + 1 + rand.IntN(1000)
				done = k.kill()
				killed++
				k.start()
			}
		}
	}
}
