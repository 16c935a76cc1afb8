package invokerhook_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

func transferOf(p *proxy, offset int64) control.Transfer {
	a := p.assignment
	return control.Transfer{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation, Offset: offset, Max: 100}
}

// attachClient attaches with both files; handle answers what the workers ask.
func (s *site) attachClient(handle control.Handler) *control.Conn {
	s.t.Helper()
	c := dial(s.t, s.addr, handle)
	if err := call(s.t, c, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleClient, Auth: guestKey}, nil); err != nil {
		s.t.Fatal(err)
	}
	if err := call(s.t, c, control.TypeAttach, control.Attach{Pipeline: "p", Sources: []string{"in"}, Sinks: []string{"out"}}, nil); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// attachAs attaches with the files of a pipeline, whose source has lines for ever, or none that come.
func (s *site) attachAs(name string, lines bool) {
	s.t.Helper()
	c := dial(s.t, s.addr, func(m *control.Message, _ bool, reply func(control.Answer)) {
		if lines || m.Type != control.TypePull {
			reply(control.Answer{Body: control.TransferReply{}, Blob: []byte("a line\n")})
		}
	})
	if err := call(s.t, c, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleClient, Auth: guestKey}, nil); err != nil {
		s.t.Fatal(err)
	}
	if err := call(s.t, c, control.TypeAttach, control.Attach{Pipeline: name, Sources: []string{"in"}, Sinks: []string{"out"}}, nil); err != nil {
		s.t.Fatal(err)
	}
}

func TestRelay(t *testing.T) {
	s := newSite(t, nil)
	// Attached before the start, as weft run does.
	trims := make(chan int64, 100)
	s.attachClient(func(m *control.Message, _ bool, reply func(control.Answer)) {
		var tr control.Transfer
		_ = m.Decode(&tr)
		switch m.Type {
		case control.TypePull:
			reply(control.Answer{Body: control.TransferReply{EOF: tr.Offset > 0}, Blob: fmt.Appendf(nil, "from %d", tr.Offset)})
		case control.TypeTrim:
			trims <- tr.Offset
		default:
			reply(control.Answer{}) // no body, as a write's answer
		}
	})
	p := s.staff(240_000)
	var reply control.TransferReply
	blob, err := p["in"].conn.Call(t.Context(), control.TypePull, transferOf(p["in"], 5), nil, &reply)
	if err != nil || string(blob) != "from 5" || !reply.EOF {
		t.Fatalf("pull: %q, %+v, %v", blob, reply, err)
	}
	for _, typ := range []string{control.TypeWrite, control.TypeDead} {
		if _, err := p["out"].conn.Call(t.Context(), typ, transferOf(p["out"], 0), []byte("{}\n"), nil); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
	}
	// A complete barrier lets the client forget what lies before it.
	var b control.Barrier
	p["in"].await(control.TypeBarrier, &b)
	p["in"].send(control.TypeBarrierAt, control.BarrierMark{SlotState: p["in"].stateAt(b), Barrier: b.Barrier, Position: 42})
	p["out"].send(control.TypeBarrierPassed, control.BarrierMark{SlotState: p["out"].stateAt(b), Barrier: b.Barrier})
	if at := <-trims; at != 42 {
		t.Fatalf("trimmed to %d", at)
	}
	// Whoever attaches later is told as well.
	again := make(chan int64, 1)
	s.attachClient(func(m *control.Message, _ bool, _ func(control.Answer)) {
		var tr control.Transfer
		if _ = m.Decode(&tr); m.Type == control.TypeTrim {
			again <- tr.Offset
		}
	})
	if at := <-again; at != 42 {
		t.Fatalf("the second client trims to %d", at)
	}
}

// TestRelayWaitsForTheClient loses the client with a write open: the next client gets the same call.
func TestRelayWaitsForTheClient(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	got := make(chan struct{}, 1)
	first := s.attachClient(func(*control.Message, bool, func(control.Answer)) { got <- struct{}{} }) // never answers
	done := make(chan error, 1)
	go func() {
		_, err := p["out"].conn.Call(t.Context(), control.TypeWrite, transferOf(p["out"], 3), []byte("abc"), nil)
		done <- err
	}()
	<-got
	_ = first.Close()
	s.attachClient(func(m *control.Message, _ bool, reply func(control.Answer)) {
		var tr control.Transfer
		if _ = m.Decode(&tr); tr.Offset != 3 || string(m.Blob) != "abc" {
			t.Errorf("the repeated call: %+v, %q", tr, m.Blob)
		}
		reply(control.Answer{})
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRelayIsBounded: a worker with too many open transfers is told so, and the rest still works.
func TestRelayIsBounded(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	release := make(chan struct{})
	s.attachClient(func(_ *control.Message, _ bool, reply func(control.Answer)) {
		go func() {
			<-release
			reply(control.Answer{})
		}()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	results := make(chan error, 20)
	var wg sync.WaitGroup
	for i := range cap(results) {
		wg.Go(func() {
			_, err := p["out"].conn.Call(ctx, control.TypeWrite, transferOf(p["out"], int64(i)), []byte("x"), nil)
			results <- err
		})
	}
	for range cap(results) - 8 { // the eight that are let through are not answered yet
		if err := <-results; err == nil {
			t.Error("a transfer beyond the bound was answered")
		}
	}
	if st := s.status(); st.Phase != control.Running {
		t.Errorf("status %+v", st)
	}
	close(release)
	wg.Wait()
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestNoClientIsSaid(t *testing.T) {
	s := newSite(t, withClientWait)
	p := s.staff(240_000)
	if _, err := p["in"].conn.Call(t.Context(), control.TypePull, transferOf(p["in"], 0), nil, nil); err == nil {
		t.Fatal("bytes without a client")
	}
}

func TestLogsAndStats(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	in := p["in"].assignment
	log := control.Log{Namespace: "guest", Pipeline: "p", Slot: in.Slot}
	for i := range 5000 {
		log.Lines = []control.Printed{{Stream: "stdout", TimeMS: 1, Trace: "in/0/7", Text: fmt.Sprint("line ", i)}}
		p["in"].send(control.TypeLog, log)
	}
	// Another slot's log is not this proxy's to write.
	forged := log
	forged.Slot, forged.Lines = pipeline.Slot{Stage: "out"}, []control.Printed{{Text: "forged"}}
	p["in"].send(control.TypeLog, forged)
	p["in"].send(control.TypeStats, control.Stats{SlotState: p["in"].state(), In: 10, Out: 20, PID: 7,
		HopUS: []control.HopBucket{{UpTo: 10, Count: 98}, {UpTo: 50, Count: 1}, {UpTo: 90, Count: 1}}})
	s.until("with counters", func(st control.PipelineStatus) bool {
		return st.HopP50US == 10 && st.HopP99US == 50 && st.Slots[0].Out == 20 && st.Slots[0].PID == 7
	})
	c := s.client(guestKey)
	var all []control.LogLine
	for after := uint64(0); ; {
		var page control.LogsReply
		if err := call(t, c, control.TypeLogs, control.Query{Pipeline: "p", After: after, Stage: "in"}, &page); err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Lines...)
		if len(page.Lines) == 0 {
			break
		}
		after = page.Last
	}
	if len(all) != 4000 || all[0].Text != "line 1000" || all[3999].Text != "line 4999" || all[3999].Number != 5000 {
		t.Fatalf("%d lines, %+v to %+v", len(all), all[0], all[len(all)-1])
	}
	var page control.LogsReply
	if err := call(t, c, control.TypeLogs, control.Query{Pipeline: "p", Stage: "out"}, &page); err != nil || len(page.Lines) != 0 || page.Last != 5000 {
		t.Fatalf("out: %+v, %v", page, err)
	}
	page = control.LogsReply{}
	if err := call(t, c, control.TypeLogs, control.Query{Pipeline: "p", After: 10, Slot: "in[0]"}, &page); err != nil ||
		page.Lost != 990 || page.Lines[0].Trace != "in/0/7" || page.Lines[0].Slot != in.Slot {
		t.Fatalf("after what is gone: %d lost, %v", page.Lost, err)
	}
}

// TestLogsAreWaitedFor: an empty page is held back until there is a line, or the pipeline has ended.
func TestLogsAreWaitedFor(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	c := s.client(guestKey)
	pages := make(chan control.LogsReply)
	follow := func(after uint64) {
		go func() {
			var page control.LogsReply
			if err := call(t, c, control.TypeLogs, control.Query{Pipeline: "p", After: after, WaitMS: 60_000}, &page); err != nil {
				t.Error(err)
			}
			pages <- page
		}()
	}
	follow(0)
	in := p["in"].assignment
	p["in"].send(control.TypeLog, control.Log{Namespace: "guest", Pipeline: "p", Slot: in.Slot, Lines: []control.Printed{{Text: strings.Repeat("ü", 16<<10)}}})
	page := <-pages
	if len(page.Lines) != 1 || page.Over || page.Last != 1 || len(page.Lines[0].Text) != 16<<10 {
		t.Fatalf("%d lines, over %v, last %d", len(page.Lines), page.Over, page.Last)
	}
	follow(page.Last)
	var st control.Status
	if err := call(t, c, control.TypeStop, control.Query{Pipeline: "p"}, &st); err != nil {
		t.Fatal(err)
	}
	if page := <-pages; !page.Over || len(page.Lines) != 0 {
		t.Fatalf("at the end: %+v", page)
	}
}
