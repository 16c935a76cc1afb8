package shmring_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// BenchmarkRoundTrip is 64 bytes to another process and back.
func BenchmarkRoundTrip(b *testing.B) {
	near, far := ends(b)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"=echoes")
	cmd.ExtraFiles = []*os.File{far.Memory, far.Socket}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	far.Close()
	tr := shmring.New(shmring.Config{Self: split, Broker: brokerFunc(func() (shmring.End, error) { return near, nil })})
	s, err := tr.Dial(context.Background(), "", count)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64)
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
	}
	tr.Close()
	_ = cmd.Wait()
}

func echo(s transport.Stream) {
	buf := make([]byte, 64)
	for {
		if _, err := io.ReadFull(s, buf); err != nil {
			return
		}
		if _, err := s.Write(buf); err != nil {
			return
		}
	}
}
