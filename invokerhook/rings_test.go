package invokerhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// ring asks for one from p to another proxy's slot.
func (p *proxy) ring(to control.Holder, lane int) (files []*os.File, reason string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	a := p.assignment
	var reply control.RingReply
	files, err = p.conn.CallFiles(ctx, control.TypeRing, control.Ring{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, From: p.holder(), To: to, Lane: lane}, &reply)
	p.t.Cleanup(func() { shm.CloseAll(files) })
	return files, reply.Reason, err
}

func (p *proxy) holder() control.Holder {
	return control.Holder{Slot: p.assignment.Slot, Incarnation: p.assignment.Incarnation}
}

// offer is the other end of a ring.
func (p *proxy) offer() (o control.Offer, end shmring.End) {
	p.t.Helper()
	files := p.awaitFiles(control.TypeOffer, &o)
	if len(files) != 2 {
		p.t.Fatalf("an offer with %d descriptors", len(files))
	}
	return o, shmring.End{Memory: files[0], Socket: files[1]}
}

// once is a broker that has one ring.
type once shmring.End

func (o once) Ring(context.Context, string, transport.Identity, int) (shmring.End, error) {
	return shmring.End(o), nil
}

// TestRing: two proxies of one host whose slots have an edge between them get memory to share, and bytes go.
func TestRing(t *testing.T) {
	s := newSite(t, nil)
	team := s.staff(240_000)
	in, out := team["in"], team["out"]
	files, reason, err := in.ring(out.holder(), 0)
	if err != nil || reason != "" || len(files) != 2 {
		t.Fatal(len(files), reason, err)
	}
	o, end := out.offer()
	if o.From != in.holder() || o.To != out.holder() || o.Namespace != "guest" || o.Pipeline != "p" {
		t.Errorf("the offer says %+v", o)
	}
	near := shmring.New(shmring.Config{Broker: once{Memory: files[0], Socket: files[1]}})
	defer near.Close()
	far := shmring.New(shmring.Config{})
	defer far.Close()
	far.Offer(transport.Identity{Stage: "in"}, end)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	from, err := near.Dial(ctx, "", transport.Identity{Stage: "out"})
	if err != nil {
		t.Fatal(err)
	}
	to, err := far.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Write([]byte("weft")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(to, b); err != nil || string(b) != "weft" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestRingsThatAreRefused: what a proxy asks for is checked against what it holds and the pipeline's edges.
func TestRingsThatAreRefused(t *testing.T) {
	s := newSite(t, nil)
	team := s.staff(240_000)
	in, out := team["in"], team["out"]
	late := out.holder()
	late.Incarnation++
	stranger := newProxy(t, s.addr)
	stranger.assignment = in.assignment
	for name, c := range map[string]struct {
		from *proxy
		to   control.Holder
		lane int
		want string
	}{
		"against the edge":     {out, in.holder(), 0, "0 edges lead from out to in"},
		"to itself":            {in, in.holder(), 0, "0 edges lead from in to in"},
		"more than edges":      {in, out.holder(), 1, "1 edges lead from in to out"},
		"a lane below nought":  {in, out.holder(), -1, "which lane -1 is none of"},
		"another incarnation":  {in, late, 0, "out[0] is not on this host"},
		"for somebody else":    {stranger, out.holder(), 0, "was not given to this worker"},
		"a slot nobody has":    {in, control.Holder{Slot: pipeline.Slot{Stage: "out", Index: 7}, Incarnation: 1}, 0, "out[7] is not on this host"},
		"a stage that is none": {in, control.Holder{Slot: pipeline.Slot{Stage: "x"}, Incarnation: 1}, 0, "0 edges lead from in to x"},
	} {
		files, reason, err := c.from.ring(c.to, c.lane)
		if err != nil {
			reason = err.Error()
		}
		if len(files) > 0 || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %d descriptors, %q, want %q", name, len(files), reason, c.want)
		}
	}
}

// TestRingMemoryIsBounded: a pipeline has its part of the hook's memory, a lane's is given again, and what a
// dead worker had is free.
func TestRingMemoryIsBounded(t *testing.T) {
	s := newSite(t, func(c *invokerhook.Config) { c.RingMemory = 4 * shmring.Size })
	pl := twoStages(60_000)
	pl.Edges = append(pl.Edges, pl.Edges[0])
	team := s.staffOf(pl)
	in, out := team["in"], team["out"]
	inode := func() uint64 {
		files, reason, err := in.ring(out.holder(), 0)
		if err != nil || len(files) != 2 {
			t.Fatal(reason, err)
		}
		_, end := out.offer()
		end.Close()
		return inodeOf(t, files[0])
	}
	first := inode()
	if again := inode(); again != first {
		t.Error("a lane has other memory the second time")
	}
	if st := s.hookStatus(); st.RingMemory != shmring.Size || st.RingLimit != 4*shmring.Size {
		t.Errorf("the hook says that links have %d of %d bytes", st.RingMemory, st.RingLimit)
	}
	if _, reason, err := in.ring(out.holder(), 1); err != nil || !strings.Contains(reason, "no memory left for it: 1 rings are in use, 1 of them by this pipeline") {
		t.Errorf("%q, %v", reason, err)
	}
	// Its successor's rings are others, for which there is room only when these are released. Who was refused is
	// told of that.
	_ = out.conn.Close()
	in.await(control.TypeRoom, nil)
	next := newProxy(t, s.addr)
	if r := next.bring(s.next()); r.Verdict != control.Take {
		t.Fatalf("%+v", r)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		files, reason, err := in.ring(next.holder(), 0)
		if len(files) == 2 {
			return
		}
		if time.Now().After(end) {
			t.Fatal(reason, err)
		}
	}
}

// TestRingsThatAreLetGo: a ring that both ends have closed, as when their link goes over to QUIC, counts no longer, and
// one that only one end has still does.
func TestRingsThatAreLetGo(t *testing.T) {
	s := newSite(t, func(c *invokerhook.Config) { c.RingMemory = 4 * shmring.Size })
	pl := twoStages(60_000)
	pl.Edges = append(pl.Edges, pl.Edges[0])
	team := s.staffOf(pl)
	in, out := team["in"], team["out"]
	near, reason, err := in.ring(out.holder(), 0)
	if err != nil || len(near) != 2 {
		t.Fatal(reason, err)
	}
	_, far := out.offer()
	m, err := shm.Map(far.Memory, shmring.Size)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	shm.CloseAll(near)
	if files, reason, _ := in.ring(out.holder(), 1); len(files) > 0 || !strings.Contains(reason, "no memory left") {
		t.Errorf("while one end has it: %d descriptors, %q", len(files), reason)
	}
	if st := s.hookStatus(); st.RingMemory != shmring.Size {
		t.Errorf("while one end has it, links have %d bytes", st.RingMemory)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.hookStatus(); st.RingMemory != 0 {
		t.Errorf("links have %d bytes that nobody has", st.RingMemory)
	}
	in.await(control.TypeRoom, nil)
	if files, reason, err := in.ring(out.holder(), 1); err != nil || len(files) != 2 {
		t.Errorf("when both have let go: %q, %v", reason, err)
	}
}

// TestRingsAfterATakeOver: a holder that hasn't come back to a new hook yet can't be shared memory with; whoever
// asked is told when it has.
func TestRingsAfterATakeOver(t *testing.T) {
	s := newSite(t, nil)
	team := s.staff(240_000)
	in, out := team["in"], team["out"]
	if err := s.hook.Close(); err != nil {
		t.Fatal(err)
	}
	<-in.conn.Done()
	s.open()
	if r := in.comeBack(s.addr); !r.Keep {
		t.Fatal(r.Reason)
	}
	if files, reason, err := in.ring(out.holder(), 0); len(files) > 0 || !strings.Contains(reason, "out[0] is not on this host") {
		t.Errorf("%d descriptors, %q, %v", len(files), reason, err)
	}
	if r := out.comeBack(s.addr); !r.Keep {
		t.Fatal(r.Reason)
	}
	in.await(control.TypeRoom, nil)
	if files, reason, err := in.ring(out.holder(), 0); err != nil || len(files) != 2 {
		t.Error(len(files), reason, err)
	}
}

// TestNoRingOverTCP: the kernel has to say that a worker is on this host.
func TestNoRingOverTCP(t *testing.T) {
	s := newSite(t, nil)
	s.start(60_000)
	team := map[string]*proxy{}
	for range 2 {
		f := s.next()
		addr := s.addr
		if f.token.Stage == "out" {
			addr = s.hook.Addrs()[1]
		}
		p := newProxy(t, addr)
		if r := p.bring(f); r.Verdict != control.Take {
			t.Fatalf("%+v", r)
		}
		team[f.token.Stage] = p
	}
	if _, reason, err := team["in"].ring(team["out"].holder(), 0); err != nil || !strings.Contains(reason, "over TCP") {
		t.Errorf("%q, %v", reason, err)
	}
}

func inodeOf(t *testing.T, f *os.File) uint64 {
	t.Helper()
	i, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return i.Sys().(*syscall.Stat_t).Ino
}

// arena asks for memory for payloads.
func (p *proxy) arena(of control.Holder, size int64) (files []*os.File, reason string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	a := p.assignment
	var reply control.ArenaReply
	files, err = p.conn.CallFiles(ctx, control.TypeArena, control.Arena{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Of: of, Size: size}, &reply)
	p.t.Cleanup(func() { shm.CloseAll(files) })
	return files, reply.Reason, err
}

// TestArenaMemory: a slot gets memory that it alone can write, of its pipeline's part, which rings have a part of too.
func TestArenaMemory(t *testing.T) {
	const mib = 1 << 20
	s := newSite(t, func(c *invokerhook.Config) { c.RingMemory = 64 * mib })
	team := s.staff(240_000)
	in, out := team["in"], team["out"]
	for i, size := range []int64{8 * mib, 4 * mib} { // 12 of 16
		files, reason, err := []*proxy{in, out}[i].arena([]*proxy{in, out}[i].holder(), size)
		if err != nil || reason != "" || len(files) != 1 {
			t.Fatal(len(files), reason, err)
		}
		own, err := shm.MapOwner(files[0], int(size))
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		if lent, err := shm.MapLent(files[0], int(size)); err != nil {
			t.Error(err)
		} else {
			lent.Close()
		}
	}
	for name, c := range map[string]struct {
		of   control.Holder
		size int64
		want string
	}{
		"more than its part": {in.holder(), mib, "0 rings are in use, 0 of them by this pipeline; for payloads 12 MiB, 12 of them"},
		"nothing":            {in.holder(), 0, "an arena of 0 bytes"},
		"less than nothing":  {in.holder(), -1 << 60, "an arena of -"},
		"beyond all":         {in.holder(), 1 << 62, "an arena of 4"},
		"another's":          {out.holder(), mib, "was not given to this worker"},
	} {
		files, reason, err := in.arena(c.of, c.size)
		if err != nil {
			reason = err.Error()
		}
		if len(files) > 0 || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %d descriptors, %q, want %q", name, len(files), reason, c.want)
		}
	}
	if files, reason, err := in.ring(out.holder(), 0); len(files) != 2 {
		t.Errorf("no ring beside arenas: %q, %v", reason, err)
	}
	// The bytes of a slot that is lost are there for others, no earlier.
	_ = out.conn.Close()
	next := newProxy(t, s.addr)
	if r := next.bring(s.next()); r.Verdict != control.Take {
		t.Fatalf("%+v", r)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		files, reason, err := next.arena(next.holder(), 4*mib)
		if len(files) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatal(reason, err)
		}
	}
}

// TestArenaOfFormerProcesses: each process of a function gets memory of its own, and what a former one had is there
// again as soon as nobody has it open or mapped, and no earlier.
func TestArenaOfFormerProcesses(t *testing.T) {
	const mib = 1 << 20
	s := newSite(t, func(c *invokerhook.Config) { c.RingMemory = 64 * mib })
	p := s.staff(240_000)["in"]
	take := func() *os.File {
		t.Helper()
		files, reason, err := p.arena(p.holder(), 8*mib) // of 12
		if err != nil || reason != "" || len(files) != 1 {
			t.Fatal(len(files), reason, err)
		}
		return files[0]
	}
	refused := func(when string) {
		t.Helper()
		if files, reason, err := p.arena(p.holder(), 8*mib); len(files) > 0 || !strings.Contains(reason, "for payloads 8 MiB") {
			t.Errorf("%s: %d descriptors, %q, %v", when, len(files), reason, err)
		}
	}
	for range 5 {
		f := take()
		refused("while it is open")
		own, err := shm.MapOwner(f, 8*mib)
		if err != nil {
			t.Fatal(err)
		}
		lent, err := shm.MapLent(f, 8*mib)
		if err != nil {
			t.Fatal(err)
		}
		again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Close(), own.Close()); err != nil {
			t.Fatal(err)
		}
		refused("while a receiver reads it")
		if err := lent.Close(); err != nil {
			t.Fatal(err)
		}
		refused("while it is open elsewhere")
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoArenaOverTCP: a file can't go there.
func TestNoArenaOverTCP(t *testing.T) {
	s := newSite(t, nil)
	s.start(60_000)
	p := newProxy(t, s.hook.Addrs()[1])
	if r := p.bring(s.next()); r.Verdict != control.Take {
		t.Fatalf("%+v", r)
	}
	if files, _, err := p.arena(p.holder(), 1<<20); err == nil || !strings.Contains(err.Error(), "over TCP") {
		t.Errorf("%d descriptors, %v", len(files), err)
	}
}
