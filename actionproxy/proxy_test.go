package actionproxy_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/actionproxy"
)

// behaviour is the built testdata/behaviour, the action of the recordings.
var behaviour []byte

// behaviourZip is a zip of it, as the recordings' actions were. Packing it takes a while under -race.
var behaviourZip = sync.OnceValue(func() []byte { return zipOf(map[string][]byte{"exec": behaviour}) })

func TestMain(m *testing.M) {
	if os.Getenv("FUNCTION") == "echo" {
		echo()
		return
	}
	dir, err := os.MkdirTemp("", "weft-actionproxy")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "behaviour")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/behaviour")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err == nil {
		behaviour, err = os.ReadFile(file)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "build testdata/behaviour: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// proxy is a running proxy and what it has printed.
type proxy struct {
	url, dir       string
	client         *http.Client
	stdout, stderr *log
}

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startProxy runs a proxy with c until the test ends.
func startProxy(t testing.TB, c actionproxy.Config) *proxy {
	p := &proxy{dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{}}, stdout: &log{}, stderr: &log{}}
	c.ActionDir, c.Stdout, c.Stderr = p.dir, p.stdout, p.stderr
	served, err := actionproxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- served.Serve(ctx, l) }()
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// startBehaviour is a proxy that has the action of the recordings.
func startBehaviour(t testing.TB, c actionproxy.Config) *proxy {
	t.Helper()
	if c.Env.Function == nil {
		c.Env = actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})
	}
	p := startProxy(t, c)
	if status, body := p.init(t, behaviour, "main", nil); status != http.StatusOK {
		t.Fatalf("init: %d %s", status, body)
	}
	return p
}

// init sends code, as base64 unless it is text.
func (p *proxy) init(t testing.TB, code []byte, main string, env map[string]any) (int, string) {
	t.Helper()
	value := map[string]any{"name": "m", "main": main, "binary": false, "code": string(code), "env": env}
	if bytes.HasPrefix(code, []byte("\x7fELF")) || bytes.HasPrefix(code, []byte("PK")) {
		value["binary"], value["code"] = true, base64.StdEncoding.EncodeToString(code)
	}
	body, err := json.Marshal(map[string]any{"value": value})
	if err != nil {
		t.Fatal(err)
	}
	status, _, answer := p.call(t, http.MethodPost, "/init", body)
	return status, strings.TrimSuffix(answer, "\n")
}

// run sends a /run with a value of JSON.
func (p *proxy) run(t testing.TB, value string) (int, string) {
	t.Helper()
	body := `{"value":` + value + `,"namespace":"guest","action_name":"/guest/m","action_version":"0.0.1",` +
		`"activation_id":"0123456789abcdef0123456789abcdef","transaction_id":"t","deadline":"4102444800000"}`
	status, _, answer := p.call(t, http.MethodPost, "/run", []byte(body))
	return status, strings.TrimSuffix(answer, "\n")
}

// expect is a run whose answer is known.
func (p *proxy) expect(t testing.TB, value string, status int, answer string) {
	t.Helper()
	if gotStatus, got := p.run(t, value); gotStatus != status || got != answer {
		t.Errorf("run %s: %d %.300s; want %d %s", value, gotStatus, got, status, answer)
	}
}

func zipOf(files map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
