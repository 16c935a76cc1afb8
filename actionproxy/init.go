package actionproxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/actionproxy/unpack"
)

// maxInit bounds the body of an /init, in bytes: 48 MiB of code as base64 and its parameters.
const maxInit = 66 << 20

// initBody is the body of an /init.
type initBody struct {
	Value struct {
		Name   string                     `json:"name"`
		Main   string                     `json:"main"`
		Code   string                     `json:"code"`
		Binary bool                       `json:"binary"`
		Env    map[string]json.RawMessage `json:"env"`
	} `json:"value"`
}

// serveInit lets one /init through, and the next one if that fails. Who goes on is decided before the
// body is read.
func (p *Proxy) serveInit(w http.ResponseWriter, r *http.Request) {
	if !p.init.CompareAndSwap(initNone, initBegun) {
		skipBody(w, r)
		Failure(http.StatusForbidden, "Cannot initialize the action more than once.").send(w)
		return
	}
	began := time.Now()
	reply := p.initialize(w, r)
	p.cfg.Log("init", "status", reply.Status, "took", time.Since(began))
	if reply.Status == http.StatusOK {
		p.init.Store(initDone)
	} else {
		p.init.Store(initNone)
	}
	reply.send(w)
}

func (p *Proxy) initialize(w http.ResponseWriter, r *http.Request) Reply {
	raw, err := readBody(w, r, maxInit)
	if err != nil {
		return Failure(http.StatusBadRequest, "Error reading request body: %v", err)
	}
	var body initBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return Failure(http.StatusBadRequest, "Error unmarshaling request: %v", err)
	}
	in := &body.Value
	if in.Code == "" {
		return Failure(http.StatusForbidden, "Missing main/no code to execute.")
	}
	code := []byte(in.Code)
	if in.Binary {
		if code, err = base64.StdEncoding.DecodeString(in.Code); err != nil {
			return Failure(http.StatusBadRequest, "cannot decode the request: %v", err)
		}
	}
	in.Code, raw = "", nil // tens of MiB, in a container that may have 128
	environ, err := p.cfg.Env.forFunction(in.Env)
	if err != nil {
		return Failure(http.StatusBadRequest, "cannot decode the request: %v", err)
	}
	if name, ok := builtinName(code); ok {
		return p.initBuiltin(name)
	}
	return p.initFunction(r.Context(), code, in.Main, environ)
}

// builtinName reads code that is the one line weft:NAME.
func builtinName(code []byte) (string, bool) {
	if len(code) > 100 {
		return "", false
	}
	name, ok := strings.CutPrefix(strings.TrimSpace(string(code)), "weft:")
	return name, ok && !strings.ContainsAny(name, " \t\r\n")
}

func (p *Proxy) initBuiltin(name string) Reply {
	if p.cfg.Builtins[name] == nil {
		return p.initFailed(compileFailed, fmt.Errorf("code weft:%s: this proxy has no such action", name))
	}
	p.function.Store(&Function{Builtin: name})
	return initOK
}

var initOK = Reply{Status: http.StatusOK, Body: []byte(`{"ok":true}`)}

// The texts that stand in the answer where the error itself goes to the log.
const (
	compileFailed = "The action failed to generate or locate a binary. See logs for details."
	startFailed   = "Cannot start action. Check logs for details."
)

// initFailed answers an /init that failed after its request was understood.
func (p *Proxy) initFailed(text string, err error) Reply {
	if !p.cfg.Env.LogInitError && text == startFailed {
		return Failure(http.StatusBadGateway, "cannot start action: %v", err)
	}
	if !p.cfg.Env.LogInitError {
		return Failure(http.StatusBadGateway, "%v", err)
	}
	fmt.Fprintln(p.cfg.Stderr, err)
	p.endLog()
	return Failure(http.StatusBadGateway, "%s", text)
}

// initFunction unpacks, builds and starts. ctx is the platform's patience.
func (p *Proxy) initFunction(ctx context.Context, code []byte, main string, environ []string) Reply {
	dir, err := p.nextDir()
	if err != nil {
		return p.initFailed(compileFailed, err)
	}
	kept := false
	defer func() {
		if !kept {
			os.RemoveAll(dir)
		}
	}()
	if err := unpack.Code(filepath.Join(dir, "src"), code, p.cfg.Env.SaveJar); err != nil {
		return p.initFailed(compileFailed, err)
	}
	program, err := compile.Build(ctx, compile.Request{Compiler: p.cfg.Env.Compiler, Dir: dir, Main: main,
		Env: p.cfg.Env.Compile, Function: environ})
	if err != nil {
		return p.initFailed(compileFailed, err)
	}
	if err := p.checkExecutionEnv(dir, program); err != nil {
		return p.initFailed(startFailed, err)
	}
	fn := &Function{config: process.Config{Path: program.Path, Args: program.Args, Dir: program.Dir, Env: environ, User: p.cfg.User,
		WaitForAck: program.Acks || p.cfg.Env.WaitForAck != "", Stdout: p.cfg.Stdout, Stderr: p.cfg.Stderr}}
	if err := p.give(fn.config, dir); err != nil {
		return p.initFailed(startFailed, err)
	}
	if fn.running, err = process.Start(ctx, fn.config); err != nil {
		return p.initFailed(startFailed, err)
	}
	p.function.Store(fn)
	kept = true
	return initOK
}

// give lets a function that runs as another user write where those that run as root do without asking: to
// its own files and to the folder it is started in.
func (p *Proxy) give(c process.Config, dir string) error {
	if c.User == 0 {
		return nil
	}
	if c.Dir == "" {
		if err := os.Chown(".", c.User, c.User); err != nil {
			return fmt.Errorf("give the function its folder: %w", err)
		}
	}
	return c.Give(filepath.Join(dir, "bin"), filepath.Join(dir, "src"))
}

// nextDir makes the folder for an action: a number, one above the highest there is.
func (p *Proxy) nextDir() (string, error) {
	if err := os.MkdirAll(p.cfg.ActionDir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for the action: %w", err)
	}
	entries, err := os.ReadDir(p.cfg.ActionDir)
	if err != nil {
		return "", fmt.Errorf("read folder of actions: %w", err)
	}
	highest := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			highest = max(highest, n)
		}
	}
	dir := filepath.Join(p.cfg.ActionDir, strconv.Itoa(highest+1))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for the action: %w", err)
	}
	return dir, nil
}

// checkExecutionEnv refuses a binary that was made for another image. What this proxy builds itself is
// made for this one.
func (p *Proxy) checkExecutionEnv(dir string, program compile.Program) error {
	if p.cfg.Env.ExecutionEnv == "" || program.Acks {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(dir, "bin", "exec.env"))
	if err != nil {
		return fmt.Errorf("the action has no bin/exec.env; this runtime runs what was compiled for %q", p.cfg.Env.ExecutionEnv)
	}
	if got := strings.TrimSpace(string(b)); got != p.cfg.Env.ExecutionEnv {
		return fmt.Errorf("the action was compiled for %q; this runtime is %q", got, p.cfg.Env.ExecutionEnv)
	}
	return nil
}
