package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// visit is a guest's end of a stream to a desk.
type visit struct {
	t      *testing.T
	conn   net.Conn
	frames *frame.Reader
	served chan struct{}
}

type pipeStream struct{ net.Conn }

func (pipeStream) Peer() transport.Identity { return transport.Identity{} }

func testDesk(timeout time.Duration) *desk {
	return &desk{stage: "in", prefix: "in[0]:", timeout: timeout, wake: make(chan struct{}, 1), away: map[int64]*call{}}
}

func visitTo(t *testing.T, d *desk) *visit {
	here, there := net.Pipe()
	v := &visit{t: t, conn: here, frames: frame.NewReader(here, maxResultBytes+1<<20), served: make(chan struct{})}
	go func() { defer close(v.served); d.serve(pipeStream{there}) }()
	t.Cleanup(func() { here.Close(); <-v.served })
	_ = here.SetDeadline(time.Now().Add(30 * time.Second))
	return v
}

func (v *visit) send(typ frame.Type, seq uint64, payload string) error {
	f := frame.Frame{Header: frame.Header{Type: typ, Seq: seq}, Payload: []byte(payload)}
	_, err := v.conn.Write(f.Append(nil))
	return err
}

// answer is the next one, as a text.
func (v *visit) answer() string {
	v.t.Helper()
	f, err := v.frames.Next()
	if err != nil {
		return "end"
	}
	return fmt.Sprintf("%d %d %s", f.Type, f.Seq, f.Payload)
}

// next is the next event that the source would send, with what comes back of it.
func (d *desk) take(t *testing.T) made {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := calls{d}.next(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func back(id, payload string, bypass bool) *frame.Frame {
	f := &frame.Frame{ID: []byte(id), Payload: []byte(payload)}
	if bypass {
		f.Flags = frame.Bypass
	}
	return f
}

func TestDeskAnswersEachCall(t *testing.T) {
	d := testDesk(time.Minute)
	v := visitTo(t, d)
	for seq := range uint64(3) {
		if err := v.send(frame.Data, seq, fmt.Sprintf(`{"n":%d}`, seq)); err != nil {
			t.Fatal(err)
		}
		if m := d.take(t); m.position != int64(seq) || string(m.payload) != fmt.Sprintf(`{"n":%d}`, seq) {
			t.Fatalf("%d %s", m.position, m.payload)
		}
	}
	for _, f := range []*frame.Frame{ // what others' sinks, and liars, may send
		back("in[0]:7", `{}`, false), back("in[1]:0", `{}`, false), back("", `{}`, false), back("work[0]:own:1.1/0", `{}`, false), back("in[0]:0/0.0", `{}`, false),
	} {
		d.returned(f)
	}
	d.returned(back("in[0]:2/0.2", `{"b":1}`, false))
	d.returned(back("in[0]:1", "", true))
	d.returned(back("in[0]:2/1.2", `{"c":1}`, false))
	d.returned(back("in[0]:0/0", `no JSON`, false))
	for _, want := range []string{`1 1 {}`, `1 2 {"results":[{"b":1},{"c":1}]}`, `19 0 {"error":"what a sink got is no JSON object, and can't be a result"}`} {
		if got := v.answer(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if err := v.send(frame.Hello, 9, ""); err != nil {
		t.Fatal(err)
	}
	if got := v.answer(); got != "7 9 " {
		t.Errorf("are you there: %s", got)
	}
}

// An attempt that begins ends the calls on their way, and none that waits.
func TestDeskBegins(t *testing.T) {
	d := testDesk(time.Minute)
	v := visitTo(t, d)
	_ = v.send(frame.Data, 1, `{}`)
	first := d.take(t)
	_ = v.send(frame.Data, 2, `{}`)
	d.begin(0)
	if got := v.answer(); !strings.HasPrefix(got, `19 1 {"error":"the event was lost`) {
		t.Error(got)
	}
	second := d.take(t)
	if second.position <= first.position {
		t.Errorf("position %d after %d", second.position, first.position)
	}
	d.begin(100)
	_ = v.answer()
	_ = v.send(frame.Data, 3, `{}`)
	if m := d.take(t); m.position != 100 {
		t.Errorf("position %d of an attempt from 100", m.position)
	}
	d.close()
	if got := v.answer(); !strings.Contains(got, "the pipeline has stopped") {
		t.Error(got)
	}
	_ = v.send(frame.Data, 4, `{}`)
	if got := v.answer(); got != `19 4 {"error":"the pipeline has stopped"}` {
		t.Error(got)
	}
}

func TestDeskIsBounded(t *testing.T) {
	d := testDesk(time.Minute)
	for range maxCalls {
		d.admit([]byte("{}"), func([]byte, bool) {})
	}
	v := visitTo(t, d)
	_ = v.send(frame.Data, 1, `{}`)
	if got := v.answer(); !strings.Contains(got, "in takes no more") {
		t.Error(got)
	}
	m := d.take(t)
	big := strings.Repeat("x", maxResultBytes/2)
	answered := make(chan string, 1)
	d.away[m.position].answer = func(result []byte, _ bool) { answered <- string(result) }
	for i := range 3 {
		d.returned(back(fmt.Sprintf("in[0]:%d/%d.9", m.position, i), `{"a":"`+big+`"}`, false))
	}
	if got := <-answered; !strings.Contains(got, "the results take more than 8 MiB") {
		t.Error(got)
	}
	d.close()
}

func TestDeskTimeLimit(t *testing.T) {
	d := testDesk(time.Millisecond)
	v := visitTo(t, d)
	_ = v.send(frame.Data, 1, `{}`)
	if got := v.answer(); !strings.Contains(got, "no whole result within 1ms, the timeout of in") {
		t.Error(got)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting)+len(d.away) > 0 {
		t.Error("the call is kept")
	}
}

// A guest that doesn't keep the rules is left, and harms nobody.
func TestDeskOfHostileGuests(t *testing.T) {
	for name, hostile := range map[string]func(v *visit) error{
		"another type":    func(v *visit) error { return v.send(frame.Barrier, 1, "") },
		"a function's":    func(v *visit) error { return v.send(frame.Done, 1, "") },
		"no frame":        func(v *visit) error { _, err := v.conn.Write([]byte(strings.Repeat("\xff", 100))); return err },
		"a large event":   func(v *visit) error { return v.send(frame.Data, 1, strings.Repeat("x", maxEventBytes+1)) },
		"many at once":    func(v *visit) (err error) { return v.many(func(i uint64) error { return v.send(frame.Data, i, "{}") }) },
		"hello for hello": func(v *visit) (err error) { return v.many(func(i uint64) error { return v.send(frame.Hello, i, "") }) },
	} {
		t.Run(name, func(t *testing.T) {
			d := testDesk(time.Minute)
			v := visitTo(t, d)
			_ = hostile(v)
			if _, err := v.conn.Write(make([]byte, frame.HeaderSize)); err == nil { // it may be read yet
				_, err = io.ReadAll(v.conn)
				if errors.Is(err, context.DeadlineExceeded) {
					t.Error("the stream goes on")
				}
			}
			select {
			case <-v.served:
			case <-time.After(30 * time.Second):
				t.Fatal("the guest is still served")
			}
			good := visitTo(t, d)
			_ = good.send(frame.Hello, 1, "")
			if got := good.answer(); got != "7 1 " {
				t.Errorf("another guest: %s", got)
			}
			d.close()
		})
	}
}

// many asks more than is allowed and takes no answer.
func (v *visit) many(ask func(i uint64) error) (err error) {
	for i := range uint64(3 * maxGuestCalls) {
		if err = ask(i); err != nil {
			return err
		}
	}
	return nil
}
