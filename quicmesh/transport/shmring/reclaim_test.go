package shmring_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// asked is a broker of one lane, that tells when it has handed the far end over.
type asked struct {
	t      *testing.T
	memory *os.File // of the first ring
	offer  func(shmring.End)
	done   chan struct{}
}

func (a *asked) Ring(context.Context, string, transport.Identity, int) (shmring.End, error) {
	near, far := ends(a.t)
	if a.memory == nil {
		a.memory = near.Memory
		a.t.Cleanup(func() { a.memory.Close() })
	} else {
		shm.CloseAll([]*os.File{near.Memory})
	}
	shm.CloseAll([]*os.File{far.Memory})
	var err, more error
	near.Memory, err = shm.Duplicate(a.memory)
	far.Memory, more = shm.Duplicate(a.memory)
	if err = errors.Join(err, more); err != nil {
		return near, err
	}
	a.offer(far)
	a.done <- struct{}{}
	return near, nil
}

// A dialler has died and is there again, on the same lane: the acceptor reads what the dead one has left, before
// the memory is the new one's.
func TestMemoryIsReadOutBeforeItIsUsedAgain(t *testing.T) {
	acceptor := shmring.New(shmring.Config{Self: count})
	defer acceptor.Close()
	broker := &asked{t: t, offer: func(far shmring.End) { acceptor.Offer(split, far) }, done: make(chan struct{}, 2)}
	dial := func(life *shmring.Transport, say string) {
		s, err := life.Dial(t.Context(), "", count)
		if err == nil {
			_, err = io.WriteString(s, say)
		}
		if err != nil {
			t.Error(err)
		}
	}
	first, second := shmring.New(shmring.Config{Self: split, Broker: broker}), shmring.New(shmring.Config{Self: split, Broker: broker})
	defer second.Close()
	dial(first, "last words")
	<-broker.done
	first.Close() // as its death would
	old, err := acceptor.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{})
	go func() { defer close(dialled); dial(second, "first words") }()
	<-broker.done
	b := make([]byte, 1)
	for _, want := range "last words" {
		if _, err := old.Read(b); err != nil || rune(b[0]) != want {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
	if _, err := old.Read(b); !errors.Is(err, shmring.ErrDead) {
		t.Errorf("behind them: %v", err)
	}
	<-dialled
	young, err := acceptor.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	words := make([]byte, len("first words"))
	if _, err := io.ReadFull(young, words); err != nil || string(words) != "first words" {
		t.Errorf("%q, %v", words, err)
	}
}
