package shmring_test

import (
	"errors"
	"os"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

func lendable(t *testing.T) *os.File {
	t.Helper()
	f, err := shm.CreateArena("test", 4096)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// loan is a file that came, and its number.
type loan struct {
	number uint32
	size   int64
}

// borrow sends what comes to a channel.
func borrow(s transport.Stream) chan loan {
	came := make(chan loan, 100)
	s.(transport.Lender).Borrow(func(number uint32, f *os.File) error {
		defer f.Close()
		info, err := f.Stat()
		came <- loan{number, info.Size()}
		return err
	})
	return came
}

// TestLend: memory goes either way, beside bells and bytes.
func TestLend(t *testing.T) {
	s, v := against(t)
	came := borrow(s)
	memory := lendable(t)
	for _, said := range []string{"m\x07\x00\x00\x00", "m\x08\x01\x00\x00"} {
		if _, err := shm.Write(v.socket, []byte(said), []*os.File{memory}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint32{7, 264} {
		if got := <-came; got != (loan{want, 4096}) {
			t.Errorf("%+v came, want number %d", got, want)
		}
	}
	if err := s.(transport.Lender).Lend(3, memory); err != nil {
		t.Fatal(err)
	}
	b, from := make([]byte, 5), shm.NewReader(v.socket)
	defer from.Close()
	if _, err := from.Read(b); err != nil || string(b) != "m\x03\x00\x00\x00" {
		t.Fatalf("%q, %v", b, err)
	}
	if f, err := from.Next(); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

// TestLendInPieces: a number that comes byte by byte, and descriptors that come in one read with others.
func TestLendInPieces(t *testing.T) {
	s, v := against(t)
	came := borrow(s)
	memory := lendable(t)
	if _, err := shm.Write(v.socket, []byte("m"), []*os.File{memory}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []byte{9, 0, 0, 0} {
		if _, err := v.socket.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-came; got.number != 9 {
		t.Errorf("%+v", got)
	}
}

// TestLendAgainstTheRules ends the stream, and nothing else.
func TestLendAgainstTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		borrows bool
		said    string
		files   int
	}{
		"nobody borrows":  {false, "m\x00\x00\x00\x00", 1},
		"no memory":       {true, "m\x00\x00\x00\x00", 0},
		"many":            {true, "m\x00\x00\x00\x00m\x01\x00\x00\x00", 1},
		"refused":         {true, "m\xff\x00\x00\x00", 1},
		"unknown, with 1": {true, "x", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := against(t)
			if c.borrows {
				s.(transport.Lender).Borrow(func(number uint32, f *os.File) error {
					f.Close()
					if number == 255 {
						return errors.New("no")
					}
					return nil
				})
			}
			if _, err := shm.Write(v.socket, []byte(c.said), []*os.File{lendable(t)}[:c.files]); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, shmring.ErrViolation) {
				t.Errorf("read: %v", err)
			}
		})
	}
}
