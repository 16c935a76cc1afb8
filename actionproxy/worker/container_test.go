package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// container is a proxy with its worker, as they are in an action's container, on a port of its own.
type container struct {
	t      *testing.T
	url    string
	worker *worker.Worker
	log    syncBuffer // the proxy's own streams
	runs   sync.WaitGroup
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startContainer starts one whose mesh is QUIC on loopback, or what listen opens.
func startContainer(t *testing.T, hook string, listen ...func() (worker.Endpoint, error)) *container {
	t.Helper()
	return startImage(t, "weft:python", hook, listen...)
}

// startImage is startContainer for a language.
func startImage(t *testing.T, compiler, hook string, listen ...func() (worker.Endpoint, error)) *container {
	t.Helper()
	config := worker.Config{Hook: hook, ListenIP: "127.0.0.1"}
	if len(listen) > 0 {
		config.Listen = listen[0]
	}
	c := &container{t: t, worker: worker.New(config)}
	proxy, err := actionproxy.New(actionproxy.Config{
		ActionDir: t.TempDir(), Stdout: &c.log, Stderr: &c.log, Leases: c.worker, Builtins: c.worker.Builtins(),
		Env: actionproxy.Environment{Compiler: compiler, Compile: os.Environ()},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(ctx, l) }()
	t.Cleanup(func() {
		_ = c.worker.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		c.runs.Wait()
	})
	return c
}

// post sends a request as the platform does. reply is the answer's JSON object.
func (c *container) post(path string, body any) (status int, reply map[string]any) {
	b, err := json.Marshal(body)
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	resp, err := http.Post(c.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &reply)
	}
	if err != nil {
		c.t.Errorf("%s answers %d %q: %v", path, resp.StatusCode, text, err)
	}
	return resp.StatusCode, reply
}

func (c *container) init(code string) {
	c.t.Helper()
	if status, reply := c.post("/init", map[string]any{"value": map[string]any{"code": code, "main": "main"}}); status != 200 {
		c.t.Fatalf("/init answers %d %v", status, reply)
	}
}

// answer is a /run's.
type answer struct {
	status int
	reply  map[string]any
}

func (a answer) String() string { return fmt.Sprintf("%d %v", a.status, a.reply) }

// run posts an activation and gives its answer later. life is until its deadline.
func (c *container) run(value map[string]any, life time.Duration) <-chan answer {
	out := make(chan answer, 1)
	c.runs.Go(func() {
		status, reply := c.post("/run", map[string]any{
			"value": value, "namespace": namespace, "action_name": "/guest/p.stages/x", "action_version": "0.0.1",
			"activation_id": "a1b2", "transaction_id": "t1", "api_key": "key:secret",
			"deadline": fmt.Sprint(time.Now().Add(life).UnixMilli()),
		})
		out <- answer{status, reply}
	})
	return out
}

// lease posts an activation that brings a lease for a stage.
func (c *container) lease(h *testHook, stage, id string, more ...map[string]any) <-chan answer {
	value := map[string]any{"__weft": control.Token{V: 1, Namespace: namespace, Pipeline: h.pipeline.Name, Stage: stage, ID: id}}
	for _, m := range more {
		for k, v := range m {
			value[k] = v
		}
	}
	return c.run(value, 5*time.Minute)
}

func await(t *testing.T, ch <-chan answer) answer {
	t.Helper()
	select {
	case a := <-ch:
		return a
	case <-time.After(patience):
		t.Fatal("the /run was not answered")
		return answer{}
	}
}

func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("python3 is needed: install it")
	}
	t.Skip("python3 is needed: install it")
}

// stage makes a function stage.
func function(name string) pipeline.Stage {
	return pipeline.Stage{Name: name, Function: &pipeline.Function{}, Replicas: pipeline.Replicas{Min: 1, Max: 1}, TimeoutMS: 20_000, Retries: 1}
}

// chain is a pipeline lines → f → out, with f changed by the test.
func chain(change func(*pipeline.Pipeline)) pipeline.Pipeline {
	one := pipeline.Replicas{Min: 1, Max: 1}
	p := pipeline.Pipeline{
		Name: "p", Guarantee: pipeline.AtLeastOnce, LeaseMS: 300_000,
		Stages: []pipeline.Stage{
			{Name: "in", Source: &pipeline.Source{File: "x", Format: pipeline.Lines}, Replicas: one},
			function("f"),
			{Name: "out", Sink: &pipeline.Sink{Stdout: true}, Replicas: one},
		},
		Edges: []pipeline.Edge{{From: "in", To: "f", Routing: pipeline.Balance}, {From: "f", To: "out", Routing: pipeline.Balance}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

// rig is a chain that runs: one container a slot.
type rig struct {
	*testHook
	containers map[string]*container
	runs       map[string]<-chan answer
}

// start fires the leases of all stages at once.
func start(t *testing.T, h *testHook, code string, more ...map[string]any) *rig {
	t.Helper()
	r := &rig{testHook: h, containers: map[string]*container{}, runs: map[string]<-chan answer{}}
	for _, s := range h.pipeline.Stages {
		compiler := "weft:python"
		if strings.HasPrefix(code, "package main") {
			compiler = "weft:go"
		}
		c := startImage(t, compiler, h.addr(), h.listens...)
		switch {
		case s.Source != nil:
			c.init("weft:source")
		case s.Sink != nil:
			c.init("weft:sink")
		default:
			c.init(code)
		}
		r.containers[s.Name] = c
	}
	for _, s := range h.pipeline.Stages {
		r.runs[s.Name] = r.containers[s.Name].lease(h, s.Name, "lease-"+s.Name, more...)
	}
	return r
}

func slotOf(stage string) pipeline.Slot { return pipeline.Slot{Stage: stage} }

func numbered(n int) (input string) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}
