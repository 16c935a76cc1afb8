package flow_test

import (
	"testing"

	"github.com/weft-stream/weft/quicmesh/flow"
	"pgregory.net/rapid"
)

// Frames in flight, releases and grants in any order: the receiver never sees an overrun, the sender
// never a bad grant, and what is in flight stays within the window or is one frame.
func TestSenderAndReceiverAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 1000).Draw(t, "window")
		var s flow.Sender
		r := flow.NewReceiver(window)
		if s.Fits(1) {
			t.Fatal("credit before the link began")
		}
		if err := s.Begin(uint64(window), r.Tell(), 0); err != nil {
			t.Fatal(err)
		}
		var wire, held []int
		var grants []uint64
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				n := rapid.IntRange(1, 1500).Draw(t, "size")
				if s.Fits(n) {
					s.Take(n)
					wire = append(wire, n)
				} else if s.InFlight() == 0 {
					t.Fatalf("%d bytes do not fit into an empty link", n)
				}
			},
			"arrive": func(t *rapid.T) {
				if len(wire) > 0 {
					if err := r.Take(wire[0]); err != nil {
						t.Fatal(err)
					}
					held, wire = append(held, wire[0]), wire[1:]
				}
			},
			"release": func(t *rapid.T) {
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					r.Release(held[i])
					held = append(held[:i], held[i+1:]...)
				}
			},
			"tell": func(t *rapid.T) { grants = append(grants, r.Tell()) },
			"hear": func(t *rapid.T) {
				if len(grants) > 0 {
					if err := s.Grant(grants[0]); err != nil {
						t.Fatal(err)
					}
					grants = grants[1:]
				}
			},
			"resume": func(t *rapid.T) {
				grants = nil
				before := s
				if err := s.Begin(uint64(window), r.Tell(), r.Taken()+sum(wire)); err != nil {
					t.Fatal(err)
				}
				if s.InFlight() > before.InFlight() {
					t.Fatalf("%d bytes in flight, %d before", s.InFlight(), before.InFlight())
				}
			},
			"the sender begins another life": func(t *rapid.T) {
				grants, wire, s = nil, nil, flow.Sender{}
				if err := s.Begin(uint64(window), r.Tell(), r.Taken()); err != nil {
					t.Fatal(err)
				}
			},
			"the receiver begins another life": func(t *rapid.T) {
				wire, held, grants, r = append(held, wire...), nil, nil, flow.NewReceiver(window)
				if err := s.Begin(uint64(window), r.Tell(), sum(wire)); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				if flight := len(wire) + len(held); flight > 1 && s.InFlight() > uint64(window) {
					t.Fatalf("%d frames with %d bytes in flight, window %d", flight, s.InFlight(), window)
				}
			},
		})
	})
}

func sum(sizes []int) (bytes uint64) {
	for _, n := range sizes {
		bytes += uint64(n)
	}
	return bytes
}

func TestBrokenRules(t *testing.T) {
	r := flow.NewReceiver(100)
	if err := r.Take(60); err != nil {
		t.Error(err)
	}
	if err := r.Take(41); err == nil {
		t.Error("an overrun went unnoticed")
	}
	var s flow.Sender
	if s.Begin(0, 0, 0) == nil || s.Begin(100, 99, 0) == nil || s.Begin(100, 101, 0) == nil || s.Begin(100, 100, 1<<63) == nil {
		t.Error("a begin that cannot be went unnoticed")
	}
	if s.Begin(100, 100, 0) != nil || s.Grant(101) == nil || s.Grant(50) != nil || !s.Fits(100) {
		t.Error("grants: too much must be refused, less than before ignored")
	}
}

func TestDueAtAQuarter(t *testing.T) {
	r := flow.NewReceiver(100)
	r.Take(50)
	r.Release(24)
	if r.Due() || !r.Untold() {
		t.Error("24 of 100: due, or nothing to tell")
	}
	r.Release(1)
	if !r.Due() || r.Tell() != 125 || r.Untold() {
		t.Error("25 of 100 are due, and told once")
	}
}
