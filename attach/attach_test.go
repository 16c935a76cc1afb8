package attach_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/attach"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// hook is the other side of an attachment: it accepts, says yes, and hands the connection over.
type hook struct {
	ln    net.Listener
	conns chan *control.Conn
}

func newHook(t *testing.T) *hook {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "hook.sock"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hook{ln: ln, conns: make(chan *control.Conn, 4)}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			var c *control.Conn
			got := make(chan struct{})
			c = control.NewConn(nc, func(m *control.Message, _ bool, reply func(control.Answer)) {
				<-got
				reply(control.Answer{Body: struct{}{}})
				if m.Type == control.TypeAttach {
					h.conns <- c
				}
			})
			close(got)
		}
	})
	return h
}

func (h *hook) attached(t *testing.T) *control.Conn {
	t.Helper()
	select {
	case c := <-h.conns:
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("nobody attached")
		return nil
	}
}

func start(t *testing.T, cfg attach.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- attach.New(cfg).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func pull(t *testing.T, c *control.Conn, offset int64, n int) (string, bool) {
	t.Helper()
	var r control.TransferReply
	b, err := c.Call(t.Context(), control.TypePull, control.Transfer{Slot: pipeline.Slot{Stage: "in"}, Offset: offset, Max: n}, nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.EOF
}

func write(t *testing.T, c *control.Conn, incarnation uint64, offset int64, text string) error {
	t.Helper()
	_, err := c.Call(t.Context(), control.TypeWrite, control.Transfer{Slot: pipeline.Slot{Stage: "out"}, Incarnation: incarnation, Offset: offset}, []byte(text), nil)
	return err
}

func TestFileIsReadAtPositions(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in.txt")
	if err := os.WriteFile(name, []byte("hello world"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := attach.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	h := newHook(t)
	start(t, attach.Config{Hook: "unix:" + h.ln.Addr().String(), Pipeline: "p", Inputs: map[string]attach.Input{"in": in}})
	c := h.attached(t)
	for _, step := range []struct {
		offset int64
		want   string
		eof    bool
	}{{6, "world", false}, {0, "hello ", false}, {11, "", true}} {
		if got, eof := pull(t, c, step.offset, 6); got != step.want || eof != step.eof {
			t.Errorf("at %d: %q, %v", step.offset, got, eof)
		}
	}
}

func TestFIFOKeepsWhatFollowsTheTrim(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := attach.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	h := newHook(t)
	start(t, attach.Config{Hook: "unix:" + h.ln.Addr().String(), Pipeline: "p", Inputs: map[string]attach.Input{"in": in}})
	c := h.attached(t)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		io.WriteString(f, "0123456789")
	})
	if got, _ := pull(t, c, 0, 10); got != "0123456789" {
		t.Fatalf("first: %q", got)
	}
	if got, _ := pull(t, c, 4, 2); got != "45" {
		t.Errorf("again: %q", got)
	}
	if _, err := c.Call(t.Context(), control.TypeTrim, control.Transfer{Slot: pipeline.Slot{Stage: "in"}, Offset: 5}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := pull(t, c, 5, 10); got != "56789" {
		t.Errorf("after the trim: %q", got)
	}
	if _, err := c.Call(t.Context(), control.TypePull, control.Transfer{Slot: pipeline.Slot{Stage: "in"}, Offset: 4, Max: 1}, nil, nil); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("before the trim: %v", err)
	}
	if got, eof := pull(t, c, 10, 1); got != "" || !eof {
		t.Errorf("end: %q, %v", got, eof)
	}
}

func TestOutputTakesEachByteOnce(t *testing.T) {
	var out lockedBuffer
	h := newHook(t)
	start(t, attach.Config{Hook: "unix:" + h.ln.Addr().String(), Pipeline: "p", Outputs: map[string]io.Writer{"out": &out}})
	c := h.attached(t)
	if err := errors.Join(write(t, c, 1, 0, "a\n"), write(t, c, 1, 2, "cd"), write(t, c, 1, 0, "a\ncd\nf")); err != nil {
		t.Fatal(err)
	}
	if err := write(t, c, 1, 9, "x"); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a gap: %v", err)
	}
	c.Close() // the hook dies; its successor's workers send again what was not confirmed
	c = h.attached(t)
	if err := errors.Join(write(t, c, 1, 4, "\nfgh"), write(t, c, 1, 8, "\nhalf a"), write(t, c, 2, 0, "!\n")); err != nil {
		t.Fatal(err)
	}
	if err := write(t, c, 1, 15, " line\n"); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("an old incarnation: %v", err)
	}
	if got := out.take(); got != "a\ncd\nfgh\n!\n" {
		t.Errorf("got %q", got)
	}
}

// Slots' lines come in parts that are cut anywhere, and between those of others: they are written whole.
func TestOutputWritesWholeLines(t *testing.T) {
	var out lockedBuffer
	h := newHook(t)
	start(t, attach.Config{Hook: "unix:" + h.ln.Addr().String(), Pipeline: "p", Outputs: map[string]io.Writer{"out": &out}})
	c := h.attached(t)
	incarnation := uint64(0)
	rapid.Check(t, func(r *rapid.T) {
		incarnation++
		var want []string
		text := [2]string{}
		for slot := range text {
			for i := range rapid.IntRange(0, 5).Draw(r, "lines") {
				line := strings.Repeat(fmt.Sprintf("%d.%d", slot, i), rapid.IntRange(1, 20).Draw(r, "length"))
				want, text[slot] = append(want, line), text[slot]+line+"\n"
			}
		}
		for sent := [2]int{}; sent[0] < len(text[0]) || sent[1] < len(text[1]); {
			slot := rapid.IntRange(0, 1).Draw(r, "slot")
			n := rapid.IntRange(0, len(text[slot])-sent[slot]).Draw(r, "bytes")
			to := control.Transfer{Pipeline: "p", Slot: pipeline.Slot{Stage: "out", Index: slot}, Incarnation: incarnation, Offset: int64(sent[slot])}
			if _, err := c.Call(t.Context(), control.TypeWrite, to, []byte(text[slot][sent[slot]:][:n]), nil); err != nil {
				r.Fatal(err)
			}
			sent[slot] += n
		}
		got := strings.Fields(out.take())
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			r.Fatalf("got %q, want %q", got, want)
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// take gives what was written since the last time.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestOpenRefusesFolders(t *testing.T) {
	if _, err := attach.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("got %v", err)
	}
}

// stalled is a file whose reader takes nothing until it is released.
type stalled struct{ release chan struct{} }

func (s stalled) Write(b []byte) (int, error) {
	<-s.release
	return len(b), nil
}

func TestStalledOutputKeepsNothingElseWaiting(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in.txt")
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := attach.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out := stalled{make(chan struct{})}
	h := newHook(t)
	start(t, attach.Config{Hook: "unix:" + h.ln.Addr().String(), Pipeline: "p",
		Inputs: map[string]attach.Input{"in": in}, Outputs: map[string]io.Writer{"out": out}})
	c := h.attached(t)
	written := make(chan error, 1)
	go func() { written <- write(t, c, 1, 0, "x") }()
	if got, _ := pull(t, c, 0, 5); got != "hello" {
		t.Errorf("while the output stalls: %q", got)
	}
	close(out.release)
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestAttachedTellsWhyNot(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := attach.New(attach.Config{Hook: "unix:" + filepath.Join(t.TempDir(), "nobody.sock"), Pipeline: "p"})
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if err := a.Attached(short); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
