package control_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
)

// unixPair connects two sides over a Unix socket.
func unixPair(t *testing.T, a, b control.Handler) (*control.Conn, *control.Conn) {
	t.Helper()
	na, nb := unixSockets(t)
	ca, cb := control.NewConn(na, a), control.NewConn(nb, b)
	t.Cleanup(func() { _ = ca.Close(); _ = cb.Close(); <-ca.Done(); <-cb.Done() })
	return ca, cb
}

func unixSockets(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	fa, fb, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	a, err := shm.Conn(fa)
	if err != nil {
		t.Fatal(err)
	}
	b, err := shm.Conn(fb)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func textFile(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, files []*os.File) string {
	t.Helper()
	if len(files) != 1 {
		t.Fatalf("%d files came, want 1", len(files))
	}
	defer files[0].Close()
	b, err := io.ReadAll(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesTravelBothWays(t *testing.T) {
	got := make(chan []*os.File, 1)
	answer := textFile(t, "the answer's")
	a, _ := unixPair(t, echo, func(m *control.Message, wants bool, reply func(control.Answer)) {
		if wants {
			reply(control.Answer{Body: "body", Files: []*os.File{answer}})
			return
		}
		got <- m.Take()
	})
	if err := a.SendFiles("files", map[string]int{"a": 1}, []*os.File{textFile(t, "a message's")}); err != nil {
		t.Fatal(err)
	}
	if s := content(t, <-got); s != "a message's" {
		t.Errorf("the message brought %q", s)
	}
	var body string
	files, err := a.CallFiles(t.Context(), "ask", nil, &body)
	if err != nil || body != "body" {
		t.Fatal(err, body)
	}
	if s := content(t, files); s != "the answer's" {
		t.Errorf("the answer brought %q", s)
	}
}

func TestFilesNeedAUnixSocket(t *testing.T) {
	f := []*os.File{textFile(t, "x")}
	a, _ := pair(t, echo, func(_ *control.Message, _ bool, reply func(control.Answer)) {
		reply(control.Answer{Files: f})
	})
	if err := a.SendFiles("files", nil, f); !errors.Is(err, control.ErrFiles) {
		t.Errorf("over TCP: %v", err)
	}
	// An answer that can't be given is an error to who asks, and the connection lives.
	for range 2 {
		var remote *control.RemoteError
		if _, err := a.CallFiles(t.Context(), "ask", nil, nil); !errors.As(err, &remote) {
			t.Errorf("answer over TCP: %v", err)
		}
	}
}

// TestFilesNobodyWants: what a handler doesn't take is closed, and so is what comes late.
func TestFilesNobodyWants(t *testing.T) {
	f := []*os.File{textFile(t, "x")}
	a, b := unixPair(t, echo, func(m *control.Message, wants bool, reply func(control.Answer)) {
		if wants {
			reply(control.Answer{Files: f})
		}
	})
	before := descriptors(t)
	for range 100 {
		if err := a.SendFiles("ignored", nil, f); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Call(t.Context(), "ask", nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if now := descriptors(t); now > before+2 { // the last one may not be handled yet
		t.Errorf("%d descriptors, %d before", now, before)
	}
	_ = b.Close()
}

// TestFilesAgainstTheRules: a peer whose descriptors are not those announced is given up.
func TestFilesAgainstTheRules(t *testing.T) {
	message := func(json string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(json)))
		return append(binary.LittleEndian.AppendUint32(b, 0), json...)
	}
	f := textFile(t, "x")
	for name, c := range map[string]struct {
		json  string
		files []*os.File
	}{
		"not announced":     {`{"t":"x"}`, []*os.File{f}},
		"missing":           {`{"t":"x","fds":2}`, []*os.File{f}},
		"none at all":       {`{"t":"x","fds":1}`, nil},
		"a negative number": {`{"t":"x","fds":-1}`, nil},
	} {
		na, nb := unixSockets(t)
		a := control.NewConn(na, echo)
		if _, err := shm.Write(nb.(*net.UnixConn), message(c.json), c.files); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.Done():
			if !errors.Is(a.Err(), shm.ErrFiles) {
				t.Errorf("%s: %v", name, a.Err())
			}
		case <-time.After(patience):
			t.Errorf("%s: the connection lives", name)
		}
		_ = a.Close()
		_ = nb.Close()
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
