package worker

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/quicmesh/outlet"
)

// Whatever stages make of an event, in whatever order that comes: with the last part, and no sooner, all
// of it is there.
func TestSharesAddUpToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := outlet.New(outlet.Config{Answered: true})
		var leaves []string
		var grow func(id string, depth int)
		grow = func(id string, depth int) {
			copies := rapid.IntRange(1, 3).Draw(t, "copies")
			id = string(o.CopyID([]byte(id), copies))
			for range copies {
				outputs := rapid.IntRange(0, 3).Draw(t, "outputs")
				if outputs == 0 || depth == 0 {
					leaves = append(leaves, id) // passed on, or at a sink
					continue
				}
				for i := range outputs {
					grow(string(o.OutputID(nil, []byte(id), i, outputs)), depth-1)
				}
			}
		}
		grow("in[0]:17", rapid.IntRange(0, 4).Draw(t, "depth"))
		leaves = rapid.Permutation(leaves).Draw(t, "order")
		var g gathered
		for i, id := range leaves {
			s, ok := parseShare([]byte(id), "in[0]:")
			if !ok || s.position != 17 {
				t.Fatalf("%s: %v %+v", id, ok, s)
			}
			if whole := g.add(s, nil); whole != (i == len(leaves)-1) {
				t.Fatalf("whole is %v after %d of %v", whole, i+1, leaves)
			}
		}
	})
}

func TestSharesKeepOrder(t *testing.T) {
	var g gathered
	for _, id := range []string{"in[0]:1/10.12/0", "in[0]:1/2.12/1.2", "in[0]:1/2.12/0.2", "in[0]:1/9.12/0"} {
		s, ok := parseShare([]byte(id), "in[0]:")
		if !ok || g.add(s, []byte(fmt.Sprintf("%q", id[8:]))) {
			t.Fatal(id)
		}
	}
	if got, want := string(g.result()), `{"results":["2.12/0.2","2.12/1.2","9.12/0","10.12/0"]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Ids come over the mesh: what has no such form is of nobody.
func TestSharesOfBadIDs(t *testing.T) {
	long := slices.Repeat([]byte("/0.2"), maxSharedID)
	for _, id := range []string{"", "in[0]:", "in[0]:x", "in[1]:1", "in[0]:1/", "in[0]:1/0.0", "in[0]:1x0", "in[0]:-1", "in[0]:1/0.-2",
		"in[0]:1/99999999999999999999", "in[0]:1!", "work[0]:own:1.1/0", "in[0]:1" + string(long)} {
		if s, ok := parseShare([]byte(id), "in[0]:"); ok {
			t.Errorf("%.100s: %+v", id, s)
		}
	}
}

func FuzzParseShare(f *testing.F) {
	f.Add([]byte("in[0]:17/0.3x2/1"))
	f.Fuzz(func(t *testing.T, id []byte) {
		if s, ok := parseShare(id, "in[0]:"); ok {
			var g gathered
			if g.add(s, nil) != (s.parts.IsInt64() && s.parts.Int64() == 1) {
				t.Fatalf("%q", id)
			}
		}
	})
}
