package attach_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/attach"
)

func listen(t *testing.T, cfg attach.HTTPInput) *attach.Posts {
	t.Helper()
	cfg.Listen, cfg.Path = "127.0.0.1:0", "/events"
	in, err := cfg.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

// reply is an answer of the input.
type reply struct {
	status   int
	header   http.Header
	Accepted int
	Error    string
}

func send(t *testing.T, method, url, kind string, body io.Reader) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	r, err := do(req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func do(req *http.Request) (reply, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	b, err := io.ReadAll(resp.Body)
	if json.Unmarshal(b, &r) != nil {
		r.Error = string(b)
	}
	return r, err
}

// content is what the input holds from offset on, when n bytes of it are there.
func content(t *testing.T, in attach.Input, offset int64, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []byte
	for len(got) < n {
		b := make([]byte, n+1)
		m, err := in.ReadAt(ctx, b, offset+int64(len(got)))
		if err != nil {
			t.Fatalf("%q, then %v", got, err)
		}
		got = append(got, b[:m]...)
	}
	return string(got)
}

const lineKind = "application/x-ndjson"

func TestPostsAreLines(t *testing.T) {
	in := listen(t, attach.HTTPInput{})
	want := ""
	for _, c := range []struct {
		kind, body, add  string
		status, accepted int
	}{
		{lineKind, "{\"n\":1}\n{\"n\":2}\n", "{\"n\":1}\n{\"n\":2}\n", 202, 2},
		{"text/plain; charset=utf-8", "a\nb", "a\nb\n", 202, 2},
		{lineKind, "", "", 202, 0},
		{"application/json", " {\n \"n\": 3,\n \"s\": \"x y\"\n}\n", "{\"n\":3,\"s\":\"x y\"}\n", 202, 1},
		{"application/json", "{\"n\":", "", 400, 0},
		{"application/json", "[1]", "", 400, 0},
		{"application/json", "", "", 400, 0},
		{"application/json", "{} {}", "", 400, 0},
		{"application/json", "{\"s\":\"\xff\"}", "", 400, 0},
		{"application/json", `{"s":"` + strings.Repeat("x", 1<<20) + `"}`, "", 413, 0},
		{lineKind, "{}\n" + strings.Repeat("x", 1<<20+1) + "\n{}\n", "{}\n", 413, 1},
		{lineKind, strings.Repeat("x", 1<<20) + "\n", strings.Repeat("x", 1<<20) + "\n", 202, 1},
		{"application/x-www-form-urlencoded", "a=b", "", 415, 0},
	} {
		r := send(t, "POST", in.URL(), c.kind, strings.NewReader(c.body))
		if r.status != c.status || r.Accepted != c.accepted || (r.Error == "") != (c.status == 202) {
			t.Errorf("%s %.40q: %d, %d accepted, %q", c.kind, c.body, r.status, r.Accepted, r.Error)
		}
		want += c.add
	}
	if got := content(t, in, 0, len(want)); got != want {
		t.Errorf("got %.200q, want %.200q", got, want)
	}
}

func TestOtherRequestsAreRefused(t *testing.T) {
	in := listen(t, attach.HTTPInput{})
	if r := send(t, "GET", in.URL(), "", nil); r.status != 405 || r.header.Get("Allow") != "POST, DELETE" {
		t.Errorf("GET: %+v", r)
	}
	if r := send(t, "POST", in.URL()+"/other", lineKind, strings.NewReader("{}\n")); r.status != 404 {
		t.Errorf("another path: %+v", r)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", in.URL(), strings.NewReader("x\n"))
	req.Header.Set("Content-Type", "text/plain") // which a page of another site may send
	req.Header.Set("Origin", "https://elsewhere.example")
	if r, err := do(req); err != nil || r.status != 403 {
		t.Errorf("a page of another site: %+v, %v", r, err)
	}
	taken := attach.HTTPInput{Listen: strings.TrimSuffix(strings.TrimPrefix(in.URL(), "http://"), "/events"), Path: "/"}
	if _, err := taken.Open(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestFullSpoolAnswers429AndLosesNothing(t *testing.T) {
	in := listen(t, attach.HTTPInput{Spool: 100, Patience: time.Millisecond})
	const event = `{"n":"0123456789012345678901234567890123456789"}` // 48 bytes, and a newline
	for range 2 {
		if r := send(t, "POST", in.URL(), "application/json", strings.NewReader(event)); r.status != 202 {
			t.Fatalf("%+v", r)
		}
	}
	for _, kind := range []string{"application/json", lineKind} {
		r := send(t, "POST", in.URL(), kind, strings.NewReader(event))
		if r.status != 429 || r.header.Get("Retry-After") != "1" || r.Accepted != 0 {
			t.Errorf("%s, no room: %+v", kind, r)
		}
	}
	in.Trim(49) // a barrier is complete
	if r := send(t, "POST", in.URL(), "application/json", strings.NewReader(event)); r.status != 202 {
		t.Errorf("room again: %+v", r)
	}
	if got, want := content(t, in, 49, 98), strings.Repeat(event+"\n", 2); got != want {
		t.Errorf("got %q", got)
	}
}

func TestFullSpoolStallsTheBody(t *testing.T) {
	in := listen(t, attach.HTTPInput{Spool: 8 << 10, Patience: time.Minute})
	body, w := io.Pipe()
	answered := make(chan reply, 1)
	req, err := http.NewRequestWithContext(t.Context(), "POST", in.URL(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", lineKind)
	go func() {
		r, err := do(req)
		if err != nil {
			r.Error = err.Error()
		}
		answered <- r
	}()
	const lines = 4000
	written := make(chan error, 1)
	go func() {
		var err error
		for i := range lines {
			if _, err = fmt.Fprintf(w, "{\"n\":%d}\n", i); err != nil {
				break
			}
		}
		written <- errors.Join(err, w.Close())
	}()
	position := int64(0)
	for i := range lines {
		want := fmt.Sprintf("{\"n\":%d}\n", i)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		b := make([]byte, len(want))
		n, err := in.ReadAt(ctx, b, position)
		cancel()
		if err != nil || string(b[:n]) != want {
			t.Fatalf("line %d: %q, %v", i, b[:n], err)
		}
		if i == 0 {
			select {
			case r := <-answered:
				t.Fatalf("answered before there was room: %+v", r)
			default:
			}
		}
		position += int64(n)
		in.Trim(position)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if r := <-answered; r.status != 202 || r.Accepted != lines {
		t.Errorf("%+v", r)
	}
}

func TestBodyThatBreaksOffLeavesNoHalfLine(t *testing.T) {
	in := listen(t, attach.HTTPInput{})
	addr, _, _ := strings.Cut(strings.TrimPrefix(in.URL(), "http://"), "/")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\nwhole\nhal", lineKind)
	if got := content(t, in, 0, 6); got != "whole\n" {
		t.Errorf("got %q", got)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), `"accepted":1`) {
		t.Errorf("answer %q, %v", answer, err)
	}
	conn.Close()
	send(t, "POST", in.URL(), lineKind, strings.NewReader("next\n"))
	if got := content(t, in, 6, 5); got != "next\n" {
		t.Errorf("got %q", got)
	}
}

func TestDeleteEndsTheInput(t *testing.T) {
	in := listen(t, attach.HTTPInput{})
	send(t, "POST", in.URL(), lineKind, strings.NewReader("last\n"))
	if r := send(t, "DELETE", in.URL(), "", nil); r.status != 202 {
		t.Errorf("DELETE: %+v", r)
	}
	for _, kind := range []string{"application/json", lineKind} {
		if r := send(t, "POST", in.URL(), kind, strings.NewReader("{}")); r.status != 410 {
			t.Errorf("after the end, %s: %+v", kind, r)
		}
	}
	if got := content(t, in, 0, 5); got != "last\n" {
		t.Errorf("got %q", got)
	}
	if n, err := in.ReadAt(t.Context(), make([]byte, 1), 5); n != 0 || err != io.EOF {
		t.Errorf("end: %d, %v", n, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(in.URL()); err == nil {
		t.Error("it still answers after Close")
	}
}

// A sender that stays connected and silent keeps nobody from closing.
func TestCloseEndsSilentBodies(t *testing.T) {
	in := listen(t, attach.HTTPInput{})
	body, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", in.URL(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", lineKind)
	over := make(chan struct{})
	go func() { defer close(over); _, _ = do(req) }() // it may hear an answer, or none
	if _, err := io.WriteString(w, "x\n"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, in, 0, 2); got != "x\n" {
		t.Errorf("got %q", got)
	}
	_ = in.Close() // it tells that it had to break the connection
	_ = w.Close()  // the client waits for its body
	<-over
}
