package direct

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// What a function notes is what its proxy finds, whenever that looks: the event in work, or the last one.
func TestPage(t *testing.T) {
	theirs, file, err := NewPage()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer file.Close()
	ours, err := openPage(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	for i := range 5 {
		id := fmt.Sprintf("in[0]:%d", i)
		ours.begin(&frame.Frame{ID: []byte(id), Headers: frame.AppendHeader(nil, "traceparent", "00-"+id)})
		if !theirs.Working() || theirs.ID() != id || theirs.Trace() != "00-"+id || theirs.Done() != uint64(i) {
			t.Errorf("in work: %v %q %q %d", theirs.Working(), theirs.ID(), theirs.Trace(), theirs.Done())
		}
		ours.end()
		if theirs.Working() || theirs.ID() != id || theirs.Done() != uint64(i+1) {
			t.Errorf("done: %v %q %d", theirs.Working(), theirs.ID(), theirs.Done())
		}
	}
	ours.begin(&frame.Frame{ID: []byte(strings.Repeat("x", 60_000))}) // longer than there is room for
	if got := theirs.ID(); got != strings.Repeat("x", MostID) || len(theirs.Trace()) > 256 {
		t.Errorf("a long id of %d bytes, a trace of %d", len(got), len(theirs.Trace()))
	}
	theirs.Forget() // it has died
	if theirs.Working() || theirs.Done() != 5 {
		t.Errorf("after a death: %v, %d done", theirs.Working(), theirs.Done())
	}
	next, err := openPage(file)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	next.begin(&frame.Frame{ID: []byte("again")})
	if theirs.ID() != "again" {
		t.Errorf("the next process has %q", theirs.ID())
	}
	next.Counts(0).In.Add(3)
	if n := theirs.Counts(0).In.Load(); n != 3 {
		t.Errorf("%d events counted", n)
	}
}

// What a stage behind the first has begun is no event that is through: a group that dies in there again and again does
// nothing.
func TestPageOfFusedStages(t *testing.T) {
	theirs, file, err := NewPage()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer file.Close()
	for life := range 3 {
		ours, err := openPage(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "a/0", "a/0/0"} {
			ours.begin(&frame.Frame{ID: []byte(id)})
			if theirs.ID() != id || !theirs.Working() {
				t.Errorf("life %d: in work is %q", life, theirs.ID())
			}
		}
		if n := theirs.Through(); n != 0 {
			t.Errorf("life %d: %d events are through", life, n)
		}
		theirs.Forget()
		if err := ours.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := openPage(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	for i := range 3 {
		ours.begin(&frame.Frame{ID: []byte("b")})
		ours.begin(&frame.Frame{ID: []byte("b/0")})
		ours.end()
		if n := theirs.Through(); n != uint64(i+1) {
			t.Errorf("%d of %d events are through", n, i+1)
		}
	}
}

// A look at a page that is written all the time never finds parts of two events.
func TestPageUnderChange(t *testing.T) {
	if raceEnabled {
		t.Skip("two processes share the page; within one, a look is a data race by intent")
	}
	p, file, err := NewPage()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	file.Close()
	over := make(chan struct{})
	var writer sync.WaitGroup
	defer writer.Wait()
	defer close(over)
	writer.Go(func() {
		ids := [][]byte{[]byte(strings.Repeat("a", 300)), []byte(strings.Repeat("b", 200)), []byte(strings.Repeat("c", 100))}
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			p.begin(&frame.Frame{ID: ids[i%3]})
			p.end()
		}
	})
	for range 100_000 {
		if id := p.ID(); id != "" && strings.Trim(id, id[:1]) != "" {
			t.Fatalf("%q", id)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	p, file, err := NewPage()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	defer file.Close()
	f := frame.Frame{ID: []byte("in[0]:1234567/0/0")}
	b.ReportAllocs()
	for b.Loop() {
		p.begin(&f)
		p.end()
	}
}
