package arena_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/arena"
)

func making(_ context.Context, size int) (*os.File, error) { return shm.CreateArena("test", size) }

// held is a region with what it was filled with.
type held struct {
	*arena.Region
	fill byte
	refs int
}

// TestRegions: whatever is allocated, held and released in whatever order, a region is nobody else's while
// somebody holds it, memory is bounded, and in the end all of it is free.
func TestRegions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 4 * arena.MinSize
		grown := 0
		a := arena.New(arena.Config{Make: making, Most: most, Grown: func() { grown++ }})
		defer a.Close()
		var all []*held
		check := func(h *held) {
			if b := h.Bytes(); b[0] != h.fill || b[len(b)-1] != h.fill {
				t.Fatalf("a region of %d bytes was written by another's holder", len(b))
			}
		}
		pick := func(t *rapid.T) *held {
			if len(all) == 0 {
				t.Skip()
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"alloc": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(1, 1000), rapid.IntRange(1, 3<<20), rapid.IntRange(1, most+1)).Draw(t, "n")
				r, err := a.Alloc(context.Background(), n)
				switch {
				case err == nil:
					h := &held{r, byte(len(all) + grown + n), 1}
					h.Bytes()[0], h.Bytes()[n-1] = h.fill, h.fill
					if all = append(all, h); len(h.Bytes()) != n {
						t.Fatalf("%d bytes for %d", len(h.Bytes()), n)
					}
				case !errors.Is(err, arena.ErrFull):
					t.Fatal(err)
				case len(all) == 0 && n <= arena.MinSize:
					t.Fatalf("an empty arena has no %d bytes", n)
				}
			},
			"release": func(t *rapid.T) {
				h := pick(t)
				check(h)
				h.Release()
				if h.refs--; h.refs == 0 {
					for i := range all {
						if all[i] == h {
							all = append(all[:i], all[i+1:]...)
							break
						}
					}
				}
			},
			"retain": func(t *rapid.T) {
				h := pick(t)
				h.Retain()
				h.refs++
			},
			"find": func(t *rapid.T) {
				h := pick(t)
				from := rapid.IntRange(0, len(h.Bytes())-1).Draw(t, "from")
				if r := a.Find(h.Bytes()[from:]); r != h.Region {
					t.Fatalf("byte %d of a region is found in %p, not %p", from, r, h.Region)
				}
				h.refs++
			},
			"": func(t *rapid.T) {
				for _, h := range all {
					check(h)
				}
				if u := a.Use(); u.Regions != len(all) || u.Made > most || len(a.Files()) != grown {
					t.Fatalf("%+v in %d files, %d regions are held, %d files were told of", u, len(a.Files()), len(all), grown)
				}
			},
		})
		for _, h := range all {
			for range h.refs {
				h.Release()
			}
		}
		if u := a.Use(); u.Regions != 0 {
			t.Fatalf("all was released: %+v", u)
		}
	})
}

func TestFindOnlyWhatIsHeld(t *testing.T) {
	a := arena.New(arena.Config{Make: making, Most: arena.MinSize})
	defer a.Close()
	r, err := a.Alloc(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	beyond := r.Bytes()[:1:1]
	for name, p := range map[string][]byte{"nothing": nil, "plain memory": make([]byte, 100), "plain region": arena.Plain(100).Bytes()} {
		if a.Find(p) != nil {
			t.Errorf("%s was found", name)
		}
	}
	r.Release()
	if a.Find(beyond) != nil {
		t.Error("a released region was found")
	}
}

// TestBrokerThatRefuses is not asked for each payload.
func TestBrokerThatRefuses(t *testing.T) {
	asked := 0
	a := arena.New(arena.Config{Most: 1 << 30, Make: func(context.Context, int) (*os.File, error) {
		asked++
		return nil, errors.New("over the budget")
	}})
	for range 100 {
		if _, err := a.Alloc(t.Context(), 1); !errors.Is(err, arena.ErrFull) {
			t.Fatal(err)
		}
	}
	if asked > 10 {
		t.Errorf("asked %d times", asked)
	}
	// Memory that others could write is as none.
	open := arena.New(arena.Config{Most: 1 << 30, Make: func(_ context.Context, size int) (*os.File, error) { return shm.Create("ring", size) }})
	if _, err := open.Alloc(t.Context(), 1); !errors.Is(err, shm.ErrFile) {
		t.Errorf("memory with other seals: %v", err)
	}
}

// TestCloseWaitsForHolders: who still reads a region must not find its memory gone.
func TestCloseWaitsForHolders(t *testing.T) {
	a := arena.New(arena.Config{Make: making, Most: arena.MinSize})
	r, err := a.Alloc(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	a.Close()
	r.Bytes()[99] = 1
	r.Release()
	if _, err := a.Alloc(t.Context(), 1); !errors.Is(err, arena.ErrFull) {
		t.Errorf("after Close: %v", err)
	}
}

func lend(t testing.TB, a *arena.Arena) *arena.Loans {
	t.Helper()
	loans := new(arena.Loans)
	for _, f := range a.Files() {
		again, err := shm.Duplicate(f.File)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := loans.Take(f.Number, again); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	return loans
}

func TestReferenceLeadsToTheBytes(t *testing.T) {
	a := arena.New(arena.Config{Make: making, Most: 1 << 30})
	var regions []*arena.Region
	for i, n := range []int{100, arena.MinSize, 5000, 3 * arena.MinSize} {
		r, err := a.Alloc(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		for j := range r.Bytes() {
			r.Bytes()[j] = byte(i + j)
		}
		regions = append(regions, r)
	}
	loans := lend(t, a)
	for _, r := range regions {
		x, err := arena.ParseReference(r.Refer(r.Bytes()[10:90]).Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		b, loan, err := loans.Resolve(x)
		if err != nil || !bytes.Equal(b, r.Bytes()[10:90]) || cap(b) != 80 {
			t.Errorf("%+v leads to %d bytes, %v", x, len(b), err)
			continue
		}
		defer func() { // read after everything else has ended
			if b[0] != b[1]-1 {
				t.Error("what was lent is not there any more")
			}
			loan.Release()
		}()
	}
	a.Close()
	for _, r := range regions {
		r.Release()
	}
	loans.Close()
	if _, _, err := loans.Resolve(arena.Reference{}); !errors.Is(err, arena.ErrReference) {
		t.Errorf("after the end: %v", err)
	}
}

func TestLoansTakeInOrder(t *testing.T) {
	a := arena.New(arena.Config{Make: making, Most: 1 << 30})
	defer a.Close()
	r, err := a.Alloc(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	loans := new(arena.Loans)
	defer loans.Close()
	for i, number := range []uint32{1, 0, 0, 2, 1 << 31} {
		f, err := shm.Duplicate(a.Files()[0].File)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := loans.Take(number, f); ok != (i == 1) || errors.Is(err, arena.ErrLoan) == ok {
			t.Errorf("file %d as number %d: %v, %v", i, number, ok, err)
		}
	}
	ring, err := shm.Create("ring", 4096)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := loans.Take(1, ring); ok || !errors.Is(err, arena.ErrLoan) {
		t.Errorf("memory that others may write: %v, %v", ok, err)
	}
}

// FuzzReference: whatever a peer refers to, what is read lies in what it has lent.
func FuzzReference(f *testing.F) {
	a := arena.New(arena.Config{Make: making, Most: arena.MinSize})
	r, err := a.Alloc(context.Background(), 1)
	if err != nil {
		f.Fatal(err)
	}
	loans := lend(f, a)
	f.Add(r.Refer(r.Bytes()).Append(nil))
	for _, x := range []arena.Reference{{}, {At: arena.MinSize}, {At: arena.MinSize - 1, Length: 1}, {At: 1, Length: 1<<64 - 1}, {File: 1}, {File: 1<<32 - 1, At: 1 << 63}} {
		f.Add(x.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := arena.ParseReference(b)
		if err != nil {
			return
		}
		payload, loan, err := loans.Resolve(x)
		if err != nil {
			return
		}
		defer loan.Release()
		if x.At+x.Length > arena.MinSize || uint64(len(payload)) != x.Length {
			t.Fatalf("%+v was taken", x)
		}
		for _, c := range payload {
			_ = c
		}
	})
}

// BenchmarkRegion is what a region costs beside the payload.
func BenchmarkRegion(b *testing.B) {
	a := arena.New(arena.Config{Make: making, Most: arena.MinSize})
	defer a.Close()
	b.ReportAllocs()
	for b.Loop() {
		r, err := a.Alloc(context.Background(), 64<<10)
		if err != nil {
			b.Fatal(err)
		}
		found := a.Find(r.Bytes())
		found.Release()
		r.Release()
	}
}
