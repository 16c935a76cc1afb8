package sdk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// proxy plays the action proxy for one function process.
type proxy struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	results *bufio.Reader
	stdout  bytes.Buffer
	stderr  bytes.Buffer
	conn    net.Conn
	in      *bufio.Reader
	attempt frame.Attempt
}

func start(t *testing.T, cmd *exec.Cmd) *proxy {
	t.Helper()
	p := &proxy{t: t, cmd: cmd}
	read, write, err := os.Pipe()
	check(t, err)
	cmd.Env = []string{"PYTHONDONTWRITEBYTECODE=1"} // as in a container: nothing of ours
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &p.stdout, &p.stderr, []*os.File{write}
	p.stdin, err = cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	write.Close()
	read.SetReadDeadline(time.Now().Add(30 * time.Second))
	p.results = bufio.NewReader(read)
	t.Cleanup(func() {
		read.Close()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		if t.Failed() {
			t.Logf("stdout: %s\nstderr: %s", &p.stdout, &p.stderr)
		}
	})
	if got := p.result(); got != `{"ok":true,"abi":"weft.stream/1"}` && got != `{"ok":true,"abi":"weft.stream/1","mesh":1}` {
		t.Fatalf("ack is %q", got)
	}
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *proxy) result() string {
	p.t.Helper()
	line, err := p.results.ReadString('\n')
	check(p.t, err)
	return strings.TrimSuffix(line, "\n")
}

// activate runs an ordinary activation.
func (p *proxy) activate(value string) string {
	p.t.Helper()
	_, err := fmt.Fprintf(p.stdin, `{"value":%s,"activation_id":"a1"}`+"\n", value)
	check(p.t, err)
	return p.result()
}

// stream makes the process connect, and gives it Start.
func (p *proxy) stream() {
	p.t.Helper()
	p.connect()
	p.start(frame.MakeAttempt(1, 0))
}

func (p *proxy) connect() {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "weft") // short: the path of a socket has 108 bytes
	check(p.t, err)
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	check(p.t, err)
	defer l.Close()
	_, err = fmt.Fprintf(p.stdin, `{"weft":{"socket":%q}}`+"\n", l.Addr())
	check(p.t, err)
	check(p.t, l.SetDeadline(time.Now().Add(30*time.Second)))
	p.conn, err = l.Accept()
	check(p.t, err)
	p.t.Cleanup(func() { p.conn.Close() })
	check(p.t, p.conn.SetDeadline(time.Now().Add(60*time.Second)))
	p.in = bufio.NewReader(p.conn)
}

func (p *proxy) start(a frame.Attempt) {
	p.t.Helper()
	p.attempt = a
	p.send(frame.Frame{Header: frame.Header{Type: frame.Start}, Payload: []byte(
		`{"pipeline":"p","stage":"s","slot":1,"replicas":2,"parameters":{"factor":3},"stateful":false,"edges":{"late":4}}`)})
	for {
		f := p.read()
		if f.Type == frame.Ready && f.Attempt == a {
			return
		}
		if f.Attempt >= a {
			p.t.Fatalf("a frame of type %d before Ready", f.Type)
		}
	}
}

func (p *proxy) send(frames ...frame.Frame) {
	p.t.Helper()
	_, err := p.conn.Write(p.encode(frames))
	check(p.t, err)
}

// sendAside sends more than fits on the way while the test reads. A failure shows in what is read.
func (p *proxy) sendAside(frames ...frame.Frame) {
	go p.conn.Write(p.encode(frames))
}

func (p *proxy) encode(frames []frame.Frame) (b []byte) {
	for _, f := range frames {
		f.Attempt = p.attempt
		b = f.Append(b)
	}
	return b
}

func data(seq uint64, payload string) frame.Frame {
	return frame.Frame{Header: frame.Header{Type: frame.Data, Seq: seq}, ID: []byte("i"), Payload: []byte(payload)}
}

var endOfInput = frame.Frame{Header: frame.Header{Type: frame.End}}

func (p *proxy) readErr() (frame.Frame, error) {
	head := make([]byte, frame.HeaderSize)
	if _, err := io.ReadFull(p.in, head); err != nil {
		return frame.Frame{}, err
	}
	h, err := frame.ParseHeader(head)
	if err != nil {
		return frame.Frame{}, err
	}
	body := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, body)
	return h.WithBody(body), err
}

func (p *proxy) read() frame.Frame {
	p.t.Helper()
	f, err := p.readErr()
	check(p.t, err)
	return f
}

// until reads up to the event's end, or with 0 up to End, and writes what came as text.
func (p *proxy) until(seq uint64) (lines []string) {
	p.t.Helper()
	finished := map[uint64]bool{}
	for {
		f := p.read()
		if f.Attempt != p.attempt {
			p.t.Fatalf("a frame of attempt %s in %s", f.Attempt, p.attempt)
		}
		switch f.Type {
		case frame.Data:
			lines = append(lines, fmt.Sprintf("%d %s", f.Seq, compact(f.Payload)))
		case frame.Error:
			lines = append(lines, fmt.Sprintf("%d! %s", f.Seq, compact(f.Payload)))
		case frame.End:
			if seq != 0 {
				p.t.Fatal("End before the last event is done")
			}
			return lines
		case frame.Done:
			finished[f.Seq] = true
			if f.Flags&frame.Cumulative != 0 {
				for i := range f.Seq {
					finished[i] = true
				}
			}
			if finished[seq] && seq != 0 {
				return lines
			}
		default:
			p.t.Fatalf("a frame of type %d", f.Type)
		}
	}
}

func compact(b []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return string(b)
	}
	return out.String()
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// exit closes what there is and waits for the process.
func (p *proxy) exit() error {
	if p.conn != nil {
		p.conn.Close()
	}
	p.stdin.Close()
	return p.cmd.Wait()
}
