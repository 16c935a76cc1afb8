package actionproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
)

// wire is a connection of a client that sends all of its request before it reads.
type wire struct {
	net.Conn
	t testing.TB
}

// send begins a request of that length; what is in body may be less.
func (p *proxy) send(t testing.TB, path string, length int, body string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w := &wire{conn, t}
	w.more(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: proxy\r\nContent-Length: %d\r\n\r\n", path, length) + body)
	return w
}

func (w *wire) more(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatalf("write: %v", err)
	}
}

func (w *wire) expect(status int, answer string) {
	w.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(w), nil)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || !strings.Contains(string(b), answer) {
		w.t.Errorf("%d %.200s, %v; want %d %s", resp.StatusCode, b, err, status, answer)
	}
}

const ackScript = `{"value":{"code":"#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r x; do echo '{}' >&3; done\n"}}`

// A body that ends too early is no init; the next one is.
func TestTruncatedBodies(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	for _, n := range []int{0, 1, len(ackScript) / 2, len(ackScript) - 1} {
		w := p.send(t, "/init", len(ackScript), ackScript[:n])
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		w.expect(http.StatusBadRequest, "Error reading request body: unexpected EOF")
	}
	p.send(t, "/init", len(ackScript), ackScript).expect(200, `{"ok":true}`)
	w := p.send(t, "/run", 100, `{"value":`)
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	w.expect(http.StatusBadRequest, "Error reading request body: unexpected EOF")
	p.expect(t, `{}`, 200, `{}`)
}

// slowBody tells when it is first read, and waits between any two bytes.
type slowBody struct {
	text  string
	begun chan struct{}
	next  chan struct{}
}

func (s *slowBody) Read(b []byte) (int, error) {
	if s.begun != nil {
		close(s.begun)
		s.begun = nil
	}
	<-s.next
	if s.text == "" {
		return 0, io.EOF
	}
	b[0], s.text = s.text[0], s.text[1:]
	return 1, nil
}

// While one init is slow every other one is refused, at once: who goes on is decided before bodies.
func TestSlowInit(t *testing.T) {
	p, err := actionproxy.New(actionproxy.Config{Stdout: io.Discard, Stderr: io.Discard,
		Builtins: map[string]actionproxy.Builtin{"echo": builtin{}}})
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"value":{"code":"weft:echo"}}`
	begun, answered := make(chan struct{}), make(chan struct{})
	body := &slowBody{text: text, begun: begun, next: make(chan struct{})}
	slow := httptest.NewRecorder()
	go func() {
		p.ServeHTTP(slow, httptest.NewRequest(http.MethodPost, "/init", body))
		close(answered)
	}()
	<-begun
	for range len(text) {
		if code := post(p, "/init", []byte(text)).Code; code != http.StatusForbidden {
			t.Errorf("another init: %d", code)
		}
		body.next <- struct{}{}
	}
	close(body.next)
	if <-answered; slow.Code != http.StatusOK {
		t.Errorf("%d %s", slow.Code, slow.Body)
	}
}

// Bodies that nobody wants are read all the same: a client that is still writing must get its answer.
func TestUnwantedBodies(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	large := strings.Repeat("x", 1<<20)
	fill := func(w *wire, mib int) *wire {
		for range mib {
			w.more(large)
		}
		return w
	}
	fill(p.send(t, "/init", 67<<20, ""), 67).expect(http.StatusBadRequest, "more than 69206016 bytes")
	p.send(t, "/init", len(ackScript), ackScript).expect(200, `{"ok":true}`)
	fill(p.send(t, "/init", 60<<20, ""), 60).expect(http.StatusForbidden, "Cannot initialize the action more than once.")
	fill(p.send(t, "/run", 20<<20, ""), 20).expect(http.StatusBadRequest, "more than 8388608 bytes")
	p.expect(t, `{}`, 200, `{}`)
}
