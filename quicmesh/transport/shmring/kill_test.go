package shmring_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// The child of TestKilledAtRandomPoints has the far end of a ring as its first two files after the usual.
const childEnv = "WEFT_TEST_RING_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "writes":
		child(func(s transport.Stream) {
			b := make([]byte, 8*100)
			for n := uint64(0); ; n += 100 {
				for i := range uint64(100) {
					binary.LittleEndian.PutUint64(b[8*i:], n+i)
				}
				if _, err := s.Write(b); err != nil {
					return
				}
			}
		})
	case "echoes":
		child(echo)
	case "reads":
		child(func(s transport.Stream) { _, _ = io.Copy(io.Discard, struct{ io.Reader }{s}) })
	default:
		os.Exit(m.Run())
	}
}

func child(work func(transport.Stream)) {
	tr := shmring.New(shmring.Config{Self: count})
	tr.Offer(split, shmring.End{Memory: os.NewFile(3, "memory"), Socket: os.NewFile(4, "socket")})
	s, err := tr.Accept(context.Background())
	if err != nil {
		os.Exit(1)
	}
	work(s)
}

// TestKilledAtRandomPoints kills the other process of a ring while it writes, and while it reads. What was
// written arrives in order and without a gap up to some point; then the stream says that the peer is gone.
func TestKilledAtRandomPoints(t *testing.T) {
	rounds := 20
	if os.Getenv("WEFT_SOAK") != "" {
		rounds = 1000
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		does := []string{"writes", "reads"}[round%2]
		near, far := ends(t)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), childEnv+"="+does)
		cmd.ExtraFiles = []*os.File{far.Memory, far.Socket}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		far.Close()
		tr := shmring.New(shmring.Config{Self: split, Broker: brokerFunc(func() (shmring.End, error) { return near, nil })})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := tr.Dial(ctx, "", count)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			if does == "writes" {
				ended <- readNumbers(s)
			} else {
				ended <- writeOn(s)
			}
		}()
		time.Sleep(rand.N(10 * time.Millisecond)) // the point is any point
		_ = cmd.Process.Kill()
		select {
		case err := <-ended:
			if !errors.Is(err, shmring.ErrDead) {
				t.Errorf("round %d, the child %s: %v", round, does, err)
			}
		case <-time.After(patience):
			t.Fatalf("round %d, the child %s: its death is not seen", round, does)
		}
		_ = cmd.Wait()
		tr.Close()
	}
}

func readNumbers(s transport.Stream) error {
	b := make([]byte, 8)
	for want := uint64(0); ; want++ {
		if _, err := io.ReadFull(s, b); err != nil {
			return err
		}
		if got := binary.LittleEndian.Uint64(b); got != want {
			return errors.New("a number is missing or comes twice")
		}
	}
}

func writeOn(s transport.Stream) error {
	for b := make([]byte, 1000); ; {
		if _, err := s.Write(b); err != nil {
			return err
		}
	}
}
