package tests

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/localwhisk"
)

// cluster is a platform in the test's own process, so that a test sets what is left to chance elsewhere,
// with a hook and containers that are processes as ever.
type cluster struct {
	rest
	hook string // address
	mark string // in the environment of hook and containers
	log  *lockedBuffer
}

func newCluster(t testing.TB, placement localwhisk.Placement) *cluster {
	t.Helper()
	return newClusterBehind(t, placement, func(host string) string { return host })
}

// newClusterBehind has the hook reach the platform's API where front says.
func newClusterBehind(t testing.TB, placement localwhisk.Placement, front func(host string) string) *cluster {
	t.Helper()
	return newClusterWith(t, placement, func(c *cluster, state, kafka string) (stop func()) {
		return c.startHook(state, kafka, front(c.host))
	})
}

// newClusterWith has a hook that start starts.
func newClusterWith(t testing.TB, placement localwhisk.Placement, start func(c *cluster, state, kafka string) (stop func())) *cluster {
	t.Helper()
	state := t.TempDir()
	c := &cluster{hook: "unix:" + filepath.Join(state, "hook.sock"), mark: "TMPDIR=" + t.TempDir(), log: &lockedBuffer{}}
	p := localwhisk.New(localwhisk.Config{
		Listen: "127.0.0.1:0",
		Runtimes: map[string]localwhisk.Runtime{"go:1.26": c.runtime("weft:go"), "go:1.26-weft": c.runtime("weft:go"),
			"python:3": c.runtime("weft:python"), "python:3-weft": c.runtime("weft:python")},
		ExtraEnv:  []string{"WEFT_HOOK=" + c.hook},
		StateDir:  state,
		Placement: placement,
		Logger:    zerolog.Nop(),
	})
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.rest = rest{t, p.APIHost(), p.Auth()}
	// The platform ends first, so that workers end while the hook still hears them.
	stopHook := func() {}
	t.Cleanup(func() {
		_ = p.Close() // never fails
		stopHook()
		if left := processesWith(c.mark); len(left) > 0 {
			t.Errorf("the platform left processes behind: %v", left)
			for pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if t.Failed() {
			t.Logf("hook:\n%s", tail(c.log.String(), 4000))
		}
	})
	stopHook = start(c, state, p.KafkaAddr())
	return c
}

// runtime is a kind of the platform, as weft up has it.
func (c *cluster) runtime(compiler string) localwhisk.Runtime {
	env := []string{c.mark, "OW_WAIT_FOR_ACK=1", "OW_COMPILER=" + compiler}
	for _, name := range []string{"PATH", "HOME", "GOROOT", "GOCACHE", "GOMODCACHE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return localwhisk.Runtime{Command: []string{filepath.Join(bin, "actionproxy"), "-listen", "{address}:8080"}, Env: env}
}

// startHook returns once the hook is ready.
func (c *cluster) startHook(state, kafka, api string) (stop func()) {
	c.t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	keys := write(c.t, state, "cluster.key", hex.EncodeToString(key)+"\n")
	cmd := exec.Command(filepath.Join(bin, "invokerhook"), "--listen", c.hook, "--kafka", kafka, "--apihost", api, "--key-file", keys,
		"--attest", "process")
	cmd.Env = append(os.Environ(), c.mark)
	cmd.Stderr = c.log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // ended by a signal
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			c.t.Errorf("the hook did not end")
			_ = cmd.Process.Kill()
			<-done
		}
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(c.log.String(), `"ready"`); time.Sleep(10 * time.Millisecond) {
		select {
		case <-done:
			c.t.Fatalf("the hook has ended: %s", c.log)
		default:
		}
		if time.Now().After(end) {
			stop()
			c.t.Fatalf("the hook is not ready within a minute: %s", c.log)
		}
	}
	return stop
}

// weft runs the command in dir against this platform.
func (c *cluster) weft(dir string, args ...string) *command {
	c.t.Helper()
	args = append(args, "--apihost", c.host, "--auth", c.key)
	if args[0] != "deploy" {
		args = append(args, "--hook", c.hook)
	}
	return weftIn(c.t, dir, args...)
}
