package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/deploy/images"
	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// local is the embedded platform with a hook beside it. The platform runs in this process; hook and
// containers are processes of their own.
type local struct {
	state    string // folder of this run's files
	platform *localwhisk.Platform
	hookAt   string // unix:PATH or tcp:HOST:PORT
	note     io.Writer
	docker   bool // containers are Docker's

	stopHook context.CancelFunc
	hookDone chan struct{}
	answered atomic.Bool // the hook has
}

// localOptions are what weft run and weft up let one choose.
type localOptions struct {
	listen     string // REST address
	auth       string
	limits     string // "" or "openwhisk"
	hook       string
	placement  localwhisk.Placement
	grace      time.Duration
	docker     bool   // containers are Docker's
	ringMemory string // the hook's; "": as it likes
	props      string // file for API host and key
	settings   []localwhisk.Setting
	note       io.Writer // what happens to the hook
}

// openLocal starts platform and hook and returns once both answer.
func openLocal(ctx context.Context, o localOptions) (_ *local, err error) {
	bins, err := findBinaries("actionproxy", "invokerhook")
	if err != nil {
		return nil, exitWith(exitMissing, err)
	}
	l := &local{note: o.note, hookAt: o.hook, docker: o.docker}
	if l.state, err = os.MkdirTemp("", "weft-"); err != nil {
		return nil, exitWith(exitMissing, fmt.Errorf("make a folder for this run: %w", err))
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.hookAt == "" {
		// A folder of its own: it is what containers may be given.
		dir := filepath.Join(l.state, "hook")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, exitWith(exitMissing, fmt.Errorf("make the hook's folder: %w", err))
		}
		l.hookAt = "unix:" + filepath.Join(dir, "hook.sock")
	}
	cfg := localwhisk.Config{
		Listen:       o.listen,
		Auth:         o.auth,
		UserMemoryMB: machineMemoryMB() * 3 / 4,
		PauseGrace:   o.grace,
		Runtimes:     runtimes(ctx, bins["actionproxy"]),
		ExtraEnv:     []string{"WEFT_HOOK=" + l.hookAt},
		StateDir:     l.state,
		Placement:    o.placement,
		Logger:       zerolog.Nop(),
	}
	if o.limits == "openwhisk" {
		cfg.Limits = localwhisk.StockLimits()
		cfg.UserMemoryMB = 2048
	}
	for _, setting := range o.settings {
		setting.Apply(&cfg)
	}
	if o.docker {
		if err := l.useDocker(ctx, &cfg, bins["actionproxy"], o); err != nil {
			return nil, err
		}
	}
	l.platform = localwhisk.New(cfg)
	if err := l.platform.Open(ctx); err != nil {
		l.platform = nil
		err = fmt.Errorf("start the embedded platform: %w", err)
		if errors.Is(err, localwhisk.ErrConfig) {
			return nil, exitWith(exitUsage, err)
		}
		return nil, exitWith(exitMissing, err)
	}
	if err := l.openHook(ctx, bins["invokerhook"], o.ringMemory); err != nil || o.props == "" {
		return l, err
	}
	props := openwhisk.WskProps{"APIHOST": l.platform.APIHost(), "AUTH": l.platform.Auth(), "NAMESPACE": "_"}
	return l, exitWith(exitMissing, openwhisk.WriteWskProps(o.props, props))
}

// openHook starts the hook and the loop that starts it again should it die.
func (l *local) openHook(ctx context.Context, bin, ringMemory string) error {
	keyFile := filepath.Join(l.state, "cluster.key")
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	if err := os.WriteFile(keyFile, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
		return exitWith(exitMissing, fmt.Errorf("write the cluster key: %w", err))
	}
	attested := "process"
	if l.docker {
		attested = "docker"
	}
	start := func() (*exec.Cmd, error) {
		log, err := os.OpenFile(filepath.Join(l.state, "hook.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer log.Close()
		cmd := exec.Command(bin, "--listen", l.hookAt, "--kafka", l.platform.KafkaAddr(),
			"--apihost", l.platform.APIHost(), "--key-file", keyFile, "--attest", attested)
		if ringMemory != "" {
			cmd.Args = append(cmd.Args, "--ring-memory", ringMemory)
		}
		if host := os.Getenv("DOCKER_HOST"); l.docker && host != "" {
			cmd.Args = append(cmd.Args, "--docker", host)
		}
		cmd.Stderr = log
		// In a group of its own, or Ctrl-C would reach it before us; it does not outlive us.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		return cmd, cmd.Start()
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stopHook, l.hookDone = stop, make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer close(l.hookDone)
		// The kernel sends the death signal when the thread ends that has started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd, err := start()
		if started <- err; err == nil {
			l.superviseLoop(life, cmd, start)
		}
	}()
	if err := <-started; err != nil {
		return exitWith(exitMissing, fmt.Errorf("start the hook: %w", err))
	}
	return l.waitHook(ctx)
}

// superviseLoop starts the hook again when it dies, until life ends; then it stops it. One that dies
// before it has ever answered would only die again.
func (l *local) superviseLoop(life context.Context, cmd *exec.Cmd, start func() (*exec.Cmd, error)) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		exited := make(chan error, 1)
		began := time.Now()
		go func() { exited <- cmd.Wait() }()
		select {
		case <-life.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-exited:
			case <-time.After(5 * time.Second):
				_ = cmd.Process.Kill()
				<-exited
			}
			return
		case err := <-exited:
			if !l.answered.Load() {
				return
			}
			fmt.Fprintf(l.note, "weft: the hook has died (%v); starting it again\n", err)
		}
		if time.Since(began) > 10*time.Second {
			pause = 100 * time.Millisecond
		}
		for {
			select {
			case <-life.Done():
				return
			case <-time.After(pause):
			}
			next, err := start()
			if err == nil {
				cmd = next
				break
			}
			fmt.Fprintf(l.note, "weft: start the hook: %v\n", err)
		}
	}
}

// waitHook waits until the hook's socket is there; its log's end goes into the error.
func (l *local) waitHook(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if hookAnswers(ctx, l.hookAt) {
			l.answered.Store(true)
			return nil
		}
		select {
		case <-ctx.Done():
			return exitWith(exitUnreachable, fmt.Errorf("the hook does not answer at %s: %w: %s", l.hookAt, ctx.Err(), l.hookLog()))
		case <-l.hookDone:
			return exitWith(exitMissing, fmt.Errorf("start the hook: %s", l.hookLog()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hookLog is the last that the hook has logged: its error, when that is what it was.
func (l *local) hookLog() string {
	b, err := os.ReadFile(filepath.Join(l.state, "hook.log"))
	if err != nil {
		return ""
	}
	last := strings.TrimSpace(string(b))
	last = last[strings.LastIndexByte(last, '\n')+1:]
	var entry struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(last), &entry) == nil && entry.Error != "" {
		return entry.Error
	}
	return last
}

// close stops the platform first, so that workers end while the hook still hears them.
func (l *local) close() {
	if l.platform != nil {
		_ = l.platform.Close() // its processes are gone either way
	}
	if l.stopHook != nil {
		l.stopHook()
		<-l.hookDone
	}
	_ = os.RemoveAll(l.state)
}

// runtimes are the kinds of the embedded platform: all run Weft's proxy, each with its compiler.
func runtimes(ctx context.Context, proxy string) map[string]localwhisk.Runtime {
	command := []string{proxy, "-listen", "{address}:8080"}
	base := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "OW_WAIT_FOR_ACK=1", "OW_MEMORY_MB={memory}"}
	for _, name := range []string{"GOROOT", "GOCACHE", "GOMODCACHE", "JAVA_HOME", "OW_JAVA_CLASSPATH", "TMPDIR", "LANG"} {
		if v := os.Getenv(name); v != "" {
			base = append(base, name+"="+v)
		}
	}
	base = append(base, compile.Interpreters(ctx, os.Environ())...)
	kind := func(name, compiler string) localwhisk.Runtime {
		return localwhisk.Runtime{Kind: name, Command: command, Env: append(base[:len(base):len(base)], "OW_COMPILER="+compiler)}
	}
	all := map[string]localwhisk.Runtime{}
	for name, compiler := range map[string]string{"go:1.26": "weft:go", "python:3": "weft:python", "nodejs:20": "weft:node", "java:17": "weft:java"} {
		for _, k := range []string{name, images.WeftKind(name)} {
			all[k] = kind(k, compiler)
		}
	}
	return all
}

// findBinaries looks beside weft itself, then in PATH.
func findBinaries(names ...string) (map[string]string, error) {
	out := map[string]string{}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find weft's own folder: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if path, err = exec.LookPath(name); err != nil {
				return nil, fmt.Errorf("%s is neither beside %s nor in PATH: run make build", name, self)
			}
		}
		out[name] = path
	}
	return out, nil
}

// machineMemoryMB is the memory that can still be taken; 4 GiB where the system doesn't say.
func machineMemoryMB() int {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 4096
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) >= 2 && fields[0] == "MemAvailable:" {
			if kb, err := strconv.Atoi(fields[1]); err == nil {
				return kb / 1024
			}
		}
	}
	return 4096
}
