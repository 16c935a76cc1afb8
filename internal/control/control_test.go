package control_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

const patience = 10 * time.Second

// pair connects two sides over loopback TCP.
func pair(t *testing.T, a, b control.Handler) (*control.Conn, *control.Conn) {
	t.Helper()
	na, nb := sockets(t)
	ca, cb := control.NewConn(na, a), control.NewConn(nb, b)
	t.Cleanup(func() { _ = ca.Close(); _ = cb.Close(); <-ca.Done(); <-cb.Done() })
	return ca, cb
}

func sockets(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a, <-accepted
}

// echo answers a call with its own body and blob, and errors for the type "fail".
func echo(m *control.Message, _ bool, reply func(control.Answer)) {
	if m.Type == "fail" {
		reply(control.Answer{Err: errors.New("it failed")})
		return
	}
	reply(control.Answer{Body: m.Body, Blob: m.Blob})
}

func TestCallsInBothDirections(t *testing.T) {
	a, b := pair(t, echo, echo)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range []*control.Conn{a, b} {
		for n := range 50 {
			wg.Go(func() {
				blob := bytes.Repeat([]byte{byte(n)}, n*1000)
				want := control.Transfer{Pipeline: fmt.Sprint(i, n), Offset: int64(n)}
				var got control.Transfer
				back, err := c.Call(ctx, "echo", want, blob, &got)
				if err != nil || got != want || !bytes.Equal(back, blob) {
					t.Errorf("echo %d/%d: %+v, %d bytes, %v", i, n, got, len(back), err)
				}
			})
		}
	}
	wg.Wait()
}

func TestLargestMessage(t *testing.T) {
	a, _ := pair(t, echo, echo)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	blob := make([]byte, control.MaxMessage-1000)
	back, err := a.Call(ctx, "echo", nil, blob, nil)
	if err != nil || len(back) != len(blob) {
		t.Fatalf("%d bytes, %v", len(back), err)
	}
	if _, err := a.Call(ctx, "echo", nil, make([]byte, control.MaxMessage+1), nil); err == nil || !strings.Contains(err.Error(), "is over") {
		t.Fatalf("an oversized message: %v", err)
	}
	// Refusing it has not harmed the connection.
	if _, err := a.Call(ctx, "echo", nil, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAnnouncedSizeIsRefusedUnread(t *testing.T) {
	na, nb := sockets(t)
	defer nb.Close()
	a := control.NewConn(na, echo)
	defer a.Close()
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], 0xFFFFFFFF)
	binary.LittleEndian.PutUint32(head[4:], 0xFFFFFFFF)
	if _, err := nb.Write(head[:]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Done():
		if !strings.Contains(a.Err().Error(), "is over") {
			t.Fatal(a.Err())
		}
	case <-time.After(patience):
		t.Fatal("the connection lives")
	}
}

func TestRemoteError(t *testing.T) {
	a, _ := pair(t, echo, echo)
	_, err := a.Call(t.Context(), "fail", nil, nil, nil)
	var remote *control.RemoteError
	if !errors.As(err, &remote) || remote.Text != "it failed" {
		t.Fatalf("got %v", err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	late := make(chan func(control.Answer), 1)
	a, _ := pair(t, echo, func(_ *control.Message, _ bool, reply func(control.Answer)) { late <- reply })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.Call(ctx, "never", nil, nil, nil)
		done <- err
	}()
	reply := <-late
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// The late answer goes nowhere, and the next call gets its own.
	reply(control.Answer{Body: "late"})
	go func() { (<-late)(control.Answer{Body: "own"}) }()
	var got string
	if _, err := a.Call(t.Context(), "next", nil, nil, &got); err != nil || got != "own" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestCallEndsWithTheConnection(t *testing.T) {
	asked := make(chan struct{})
	a, b := pair(t, echo, func(*control.Message, bool, func(control.Answer)) { close(asked) })
	done := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), "never", nil, nil, nil)
		done <- err
	}()
	<-asked
	_ = b.Close()
	if err := <-done; !errors.Is(err, control.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if _, err := a.Call(t.Context(), "after", nil, nil, nil); !errors.Is(err, control.ErrClosed) {
		t.Fatalf("a call after the end: %v", err)
	}
}

func TestMessagesKeepTheirOrder(t *testing.T) {
	const n = 1000
	got := make(chan string, n)
	a, _ := pair(t, echo, func(m *control.Message, wants bool, _ func(control.Answer)) {
		if !wants {
			got <- string(m.Body)
		}
	})
	for i := range n {
		if err := a.Send("one-way", i, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if s := <-got; s != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, s)
		}
	}
}

func TestAddress(t *testing.T) {
	for s, want := range map[string]string{"unix:/a/b": "unix /a/b", "tcp:127.0.0.1:1": "tcp 127.0.0.1:1", "tcp:": "", "udp:x": "", "/a/b": "", "": ""} {
		network, address, err := control.Address(s)
		if got := network + " " + address; want != "" && (err != nil || got != want) || want == "" && err == nil {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	}
}

// FuzzReader gives a connection arbitrary bytes: it ends with an error and has called its handler only
// with what fits.
func FuzzReader(f *testing.F) {
	frame := func(json string, blob string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(json)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(blob)))
		return append(append(b, json...), blob...)
	}
	f.Add(frame(`{"t":"hello","id":1,"b":{"version":1}}`, ""))
	f.Add(frame(`{"t":"write","id":2,"b":{}}`, "bytes"))
	f.Add(append(frame(`{"t":"x","re":9}`, ""), frame(`{"t":"x","re":9,"err":"e"}`, "")...))
	f.Add([]byte{1, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xFF}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		na, nb := net.Pipe()
		c := control.NewConn(na, func(m *control.Message, _ bool, reply func(control.Answer)) {
			if len(m.Body)+len(m.Blob) > len(b) {
				t.Errorf("a message of %d bytes out of %d", len(m.Body)+len(m.Blob), len(b))
			}
			reply(control.Answer{Err: errors.New("no")})
		})
		go func() { // what it answers is read, or it would not go on
			var sink [512]byte
			for {
				if _, err := nb.Read(sink[:]); err != nil {
					return
				}
			}
		}()
		_, _ = nb.Write(b) // fails when the connection has given up
		_ = nb.Close()
		<-c.Done()
	})
}
