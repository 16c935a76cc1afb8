package replay_test

import (
	"slices"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"pgregory.net/rapid"
)

// memory counts who holds what a payload lies in.
type memory struct{ holds int }

func (m *memory) Retain()  { m.holds++ }
func (m *memory) Release() { m.holds-- }

// A log and a filter with a wire between them that loses everything at times: what the filter lets
// through is every frame once and in order, and the log keeps exactly what is not acknowledged.
func TestLogAndFilterLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log replay.Log
		var filter replay.Filter
		var wire []byte
		sizes := map[uint64]int{}
		memories := map[uint64]*memory{}
		var slow []replay.Batch // being written
		acked := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(20_000, 140_000)).Draw(t, "payload")
				f := frame.Frame{Header: frame.Header{Type: frame.Data}, Payload: make([]byte, n)}
				var in replay.Memory
				var m *memory
				if rapid.Bool().Draw(t, "elsewhere") {
					m = &memory{}
					in = m
				}
				size := log.Append(&f, in)
				if sizes[f.Seq] = size; m != nil {
					memories[f.Seq] = m
				}
			},
			"write": func(t *rapid.T) {
				if b, ok := log.Next(); ok {
					wire = append(append(wire, b.Bytes...), b.Payload...)
					if m := memories[b.Last]; (m != nil) != (b.Memory != nil) || m != nil && m.holds < 2 {
						t.Fatalf("the memory of frame %d: %v, given as %v", b.Last, m, b.Memory)
					}
					if rapid.Bool().Draw(t, "writer is slow") {
						slow = append(slow, b)
					} else {
						b.Release()
					}
				}
			},
			"read": func(t *rapid.T) {
				f, n, err := frame.Parse(wire)
				if err != nil {
					return
				}
				wire = wire[n:]
				before := filter.Received()
				switch filter.Judge(f.Seq) {
				case replay.Gap:
					t.Fatalf("number %d after %d", f.Seq, before)
				case replay.New:
					if f.Size() != sizes[f.Seq] {
						t.Fatalf("frame %d has %d bytes, was appended with %d", f.Seq, f.Size(), sizes[f.Seq])
					}
				}
			},
			"ack": func(t *rapid.T) {
				acked = rapid.Uint64Range(acked, filter.Received()).Draw(t, "number")
				if err := log.Ack(acked); err != nil {
					t.Fatal(err)
				}
			},
			"cut": func(t *rapid.T) {
				wire = nil
				acked = rapid.Uint64Range(acked, filter.Received()).Draw(t, "number")
				_, events, err := log.Resume(filter.Received(), acked)
				if err != nil {
					t.Fatal(err)
				}
				for seq := filter.Received() + 1; seq <= log.Last(); seq++ {
					events -= sizes[seq]
				}
				if events != 0 {
					t.Fatalf("%d bytes more than there are events behind %d", events, filter.Received())
				}
			},
			"the receiver begins another life": func(t *rapid.T) {
				wire, filter = nil, replay.NewFilter(acked)
				if _, _, err := log.Resume(acked, acked); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				kept := 0
				for seq := acked + 1; seq <= log.Last(); seq++ {
					kept += sizes[seq]
				}
				if kept != log.Kept() {
					t.Fatalf("keeps %d bytes, want %d", log.Kept(), kept)
				}
				for seq, m := range memories {
					if (m.holds == 0) && seq > acked {
						t.Fatalf("frame %d is kept, and its payload not held", seq)
					}
				}
			},
		})
		// In the end everything arrives.
		if _, _, err := log.Resume(filter.Received(), acked); err != nil {
			t.Fatal(err)
		}
		for b, ok := log.Next(); ok; b, ok = log.Next() {
			for bytes := append(append([]byte(nil), b.Bytes...), b.Payload...); len(bytes) > 0; {
				f, n, err := frame.Parse(bytes)
				if err != nil || filter.Judge(f.Seq) != replay.New {
					t.Fatalf("resent frame %d: %v", f.Seq, err)
				}
				bytes = bytes[n:]
			}
			b.Release()
		}
		if filter.Received() != log.Last() || log.Unsent() {
			t.Fatalf("received %d of %d", filter.Received(), log.Last())
		}
		if rapid.Bool().Draw(t, "reset") {
			log.Reset()
		} else if err := log.Ack(log.Last()); err != nil {
			t.Fatal(err)
		}
		for _, b := range slow {
			b.Release()
		}
		for seq, m := range memories {
			if m.holds != 0 {
				t.Errorf("frame %d is gone, its payload held %d times", seq, m.holds)
			}
		}
	})
}

func TestLogRefusesWhatCannotBe(t *testing.T) {
	var log replay.Log
	for range 3 {
		log.Append(&frame.Frame{Header: frame.Header{Type: frame.Data}}, nil)
	}
	if log.Ack(1) == nil {
		t.Error("acknowledged before it was sent")
	}
	b, _ := log.Next()
	b.Release()
	if log.Ack(4) == nil || log.Ack(2) != nil || log.Ack(1) != nil {
		t.Error("acknowledgements: beyond the last must be refused, repeated ones ignored")
	}
	if _, _, err := log.Resume(1, 1); err == nil {
		t.Error("resumed before what is kept")
	}
	if _, _, err := log.Resume(2, 3); err == nil {
		t.Error("more is done than was received")
	}
	if again, _, err := log.Resume(2, 2); again != 1 || err != nil {
		t.Errorf("resume after 2 of 3: %d again, %v", again, err)
	}
	log.Reset()
	if log.Kept() != 0 || log.Last() != 0 || log.Unsent() {
		t.Error("something is left after Reset")
	}
}

// A sender that goes on where an earlier one was: what it has kept meanwhile comes behind that.
func TestLogBeginsBehindAnEarlierOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log replay.Log
		number := rapid.Uint64Range(0, 1<<40)
		var events int
		numbered := func(after uint64) {
			by, bytes := log.Begin(after)
			if bytes != events || log.Last() != log.Acked()+2 || log.Acked() != after {
				t.Fatalf("%d bytes, numbers %d to %d, by %d", bytes, log.Acked(), log.Last(), int64(by))
			}
			for want := after + 1; log.Unsent(); {
				b, _ := log.Next()
				for bytes := slices.Concat(b.Bytes, b.Payload); len(bytes) > 0; {
					f, n, err := frame.Parse(bytes)
					if err != nil || f.Seq != want {
						t.Fatalf("number %d instead of %d: %v", f.Seq, want, err)
					}
					bytes, want = bytes[n:], want+1
				}
				b.Release()
			}
		}
		log.Append(&frame.Frame{Header: frame.Header{Type: frame.Barrier}}, nil)
		var in replay.Memory
		if rapid.Bool().Draw(t, "payload elsewhere") {
			in = new(memory)
		}
		payload := make([]byte, rapid.IntRange(0, 100_000).Draw(t, "payload"))
		events = log.Append(&frame.Frame{Header: frame.Header{Type: frame.Data}, Payload: payload}, in)
		numbered(number.Draw(t, "received"))
		numbered(number.Draw(t, "received by one that has forgotten"))
		if err := log.Ack(log.Last()); err != nil || log.Kept() != 0 {
			t.Fatalf("%d bytes kept: %v", log.Kept(), err)
		}
	})
}

// Frames done in any order: what is done is what a set of numbers says.
func TestDoneIsWithoutGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := rapid.Uint64Range(0, 1<<50).Draw(t, "begin")
		done := replay.NewDone(begin)
		noted := map[uint64]int{}
		upTo, bytes := begin, uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				seq := upTo + rapid.OneOf(rapid.Just(uint64(1)), rapid.Uint64Range(0, 300)).Draw(t, "ahead")
				size := rapid.IntRange(0, 1000).Draw(t, "size")
				done.Note(seq, size)
				if _, twice := noted[seq]; !twice {
					noted[seq] = size
				}
			},
			"": func(t *rapid.T) {
				for size, ok := noted[upTo+1]; ok; size, ok = noted[upTo+1] {
					upTo, bytes = upTo+1, bytes+uint64(size)
				}
				if done.UpTo() != upTo || done.Bytes() != bytes {
					t.Fatalf("done up to %d with %d bytes, want %d with %d", done.UpTo(), done.Bytes(), upTo, bytes)
				}
			},
		})
	})
}

func BenchmarkDone(b *testing.B) {
	var done replay.Done
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		done.Note((seq-1)^1+1, 100) // two by two, the second one first
	}
}

func BenchmarkLog(b *testing.B) {
	var log replay.Log
	f := frame.Frame{Header: frame.Header{Type: frame.Data}, Payload: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		log.Append(&f, nil)
		if f.Seq%64 == 0 {
			chunk, _ := log.Next()
			chunk.Release()
			if err := log.Ack(f.Seq); err != nil {
				b.Fatal(err)
			}
		}
	}
}
