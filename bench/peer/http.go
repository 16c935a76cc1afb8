package peer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weft-stream/weft/bench/load"
)

// HTTP is the way of OpenWhisk into a container: POST /run to an action proxy, which asks the function's
// process and answers. A round trip is what a function's call of another one costs without a platform.
func HTTP(ctx context.Context, proxy string, p load.Plan) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "weft-compare-")
	if err != nil {
		return load.Result{}, err
	}
	defer os.RemoveAll(dir)
	code, err := echoAction(ctx, dir)
	if err != nil {
		return load.Result{}, err
	}
	url, stop, err := startProxy(ctx, proxy, dir)
	if err != nil {
		return load.Result{}, err
	}
	defer stop()
	client := &http.Client{}
	initial, err := json.Marshal(map[string]any{"value": map[string]any{"main": "main", "binary": true, "code": base64.StdEncoding.EncodeToString(code)}})
	if err != nil {
		return load.Result{}, err
	}
	if err := post(ctx, client, url+"/init", initial); err != nil {
		return load.Result{}, err
	}
	body := fmt.Appendf(nil, `{"value":{"p":"%s"}}`, strings.Repeat("x", max(0, p.Payload-8)))
	t := load.NewTaken(p)
	for n := range p.Warmup + p.Events {
		sent := load.Now()
		if err := post(ctx, client, url+"/run", body); err != nil {
			return load.Result{}, err
		}
		if _, err := t.Note(load.Now(), sent, sent, uint64(n)); err != nil {
			return load.Result{}, err
		}
	}
	return t.Result(), nil
}

// echoAction is a native action in Go that answers each activation with its parameters.
func echoAction(ctx context.Context, dir string) ([]byte, error) {
	b, err := functions.ReadFile("functions/echo/echo.go")
	if err != nil {
		return nil, err
	}
	source, binary := filepath.Join(dir, "echo.go"), filepath.Join(dir, "echo")
	if err := os.WriteFile(source, b, 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, source)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GO111MODULE=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the echo action: %w: %s", err, brief(string(out)))
	}
	return os.ReadFile(binary)
}

// proxyHost is a loopback address of its own: the proxy's port is fixed.
const proxyHost = "127.0.77.1"

func startProxy(ctx context.Context, proxy, dir string) (url string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, proxy, "--listen", proxyHost+":8080")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the action proxy: %w", err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	url = "http://" + proxyHost + ":8080"
	for {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return url, stop, nil
		}
		select {
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("the action proxy does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func post(ctx context.Context, c *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %.200s", url, resp.Status, answer)
	}
	return err
}
