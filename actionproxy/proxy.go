package actionproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	headerWait = 10 * time.Second // for a request's header
	bodyWait   = time.Minute      // for a request's body
	stopWait   = 2 * time.Second  // for answers under way when the proxy stops
)

// What an /init finds; only the one that changes none to begun goes on.
const (
	initNone int32 = iota
	initBegun
	initDone
)

// Proxy answers a container's requests. It is an http.Handler.
type Proxy struct {
	cfg      Config
	init     atomic.Int32
	function atomic.Pointer[Function] // nil before a good /init
	reported atomic.Int64             // pid of the process whose death a /run has told about
	turn     chan struct{}            // holds a token while an ordinary activation runs
}

// New makes a proxy; it starts nothing.
func New(c Config) (*Proxy, error) {
	if c.Stdout == nil || c.Stderr == nil {
		return nil, errors.New("make proxy: Stdout and Stderr are needed: an activation's log ends with a line on both")
	}
	if c.Listen == "" {
		c.Listen = ":8080"
	}
	if c.ActionDir == "" {
		c.ActionDir = "action"
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	dir, err := filepath.Abs(c.ActionDir)
	if err != nil {
		return nil, fmt.Errorf("make proxy: %w", err)
	}
	c.ActionDir = dir
	return &Proxy{cfg: c, turn: make(chan struct{}, 1)}, nil
}

// Run listens and answers until ctx ends, then ends the function.
func (p *Proxy) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", p.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for the platform: %w", err)
	}
	return p.Serve(ctx, l)
}

// Serve is Run with a listener, which it closes.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	defer p.Close()
	under, giveUp := context.WithCancel(context.WithoutCancel(ctx)) // what is under way may still end well
	defer giveUp()
	server := &http.Server{Handler: p, ReadHeaderTimeout: headerWait, ErrorLog: log.New(serverLog{p.cfg.Log}, "", 0),
		BaseContext: func(net.Listener) context.Context { return under }}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	p.cfg.Log("listening", "address", l.Addr().String())
	select {
	case err := <-served:
		return fmt.Errorf("serve the platform: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if server.Shutdown(stop) != nil {
		giveUp()
		server.Close()
	}
	<-served
	return nil
}

// serverLog takes the HTTP server's messages, which would go to standard error, where activations' logs
// are.
type serverLog struct{ log func(event string, kv ...any) }

func (l serverLog) Write(b []byte) (int, error) {
	l.log("http", "message", string(bytes.TrimSpace(b)))
	return len(b), nil
}

// Close ends the function.
func (p *Proxy) Close() {
	if fn := p.function.Load(); fn != nil {
		fn.Close()
	}
}

// ServeHTTP answers /init and /run, whatever the method, and everything else with an empty 200.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/init":
		p.serveInit(w, r)
	case "/run":
		p.serveRun(w, r)
	}
}
