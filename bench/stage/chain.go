package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/weft-stream/weft/bench/load"
)

// Link is what the parent makes for two stages' ends: descriptors that they inherit and a name. Chain.Run
// closes the files.
type Link struct {
	Name    string
	In, Out []*os.File // of the receiver, of the sender
}

// Chain is a chain of processes of one peer.
type Chain struct {
	Peer   string
	Stages int
	Plan   load.Plan
	Server string
	// Link makes what is between stage i and i+1; nil when a name is enough.
	Link func(i int) (Link, error)
	// Pin puts the stages on cores: nil for none.
	Pin func(i int) int
	// Command starts another program as a stage; nil is this binary itself.
	Command func(i int) *exec.Cmd
	// Measure is called when the load begins, and gives what is called when it has ended: for CPU time
	// of servers.
	Measure func() (finish func() float64)
}

// Run starts the chain, lets the plan's load through, and stops all of it.
func (c Chain) Run(ctx context.Context) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Plan.Limit)
	defer cancel()
	links := make([]Link, c.Stages-1)
	var names []string
	defer closeLinks(links)
	for i := range links {
		if c.Link != nil {
			var err error
			if links[i], err = c.Link(i); err != nil {
				return load.Result{}, fmt.Errorf("link %d: %w", i, err)
			}
		}
		names = append(names, links[i].Name)
	}
	stages := make([]*process, c.Stages)
	defer func() {
		for _, s := range stages {
			s.stop()
		}
	}()
	for i := c.Stages - 1; i >= 0; i-- { // receivers first
		var err error
		if stages[i], err = c.start(ctx, i, links, names); err != nil {
			return load.Result{}, err
		}
	}
	return c.flow(stages)
}

func (c Chain) flow(stages []*process) (load.Result, error) {
	for i, s := range stages {
		if err := s.ready(); err != nil {
			return load.Result{}, fmt.Errorf("stage %d of %s: %w", i, c.Peer, err)
		}
	}
	finish := func() float64 { return 0 }
	if c.Measure != nil {
		finish = c.Measure()
	}
	for i := len(stages) - 1; i >= 0; i-- {
		if _, err := io.WriteString(stages[i].stdin, "go\n"); err != nil {
			return load.Result{}, fmt.Errorf("stage %d of %s: %w", i, c.Peer, err)
		}
	}
	var result *load.Result
	cpu := 0.0
	for i := len(stages) - 1; i >= 0; i-- {
		w, err := stages[i].words()
		if err != nil {
			return load.Result{}, fmt.Errorf("stage %d of %s: %w", i, c.Peer, errors.Join(err, first(stages)))
		}
		cpu += w.CPU
		if r := w.result(); r != nil {
			result = r
		}
	}
	if result == nil {
		return load.Result{}, fmt.Errorf("%s: the last stage measured nothing", c.Peer)
	}
	result.CPU, result.Server = cpu, finish()
	return *result, nil
}

// first is the error of whichever stage has said one: a broken chain breaks all of its stages.
func first(stages []*process) error {
	for _, s := range stages {
		if w, err := s.words(); err == nil && w.Error != "" {
			return errors.New(w.Error)
		}
	}
	return nil
}

func closeLinks(links []Link) {
	for _, l := range links {
		for _, f := range append(l.In, l.Out...) {
			_ = f.Close()
		}
	}
}

func (c Chain) start(ctx context.Context, i int, links []Link, names []string) (*process, error) {
	config := Config{Peer: c.Peer, Index: i, Stages: c.Stages, Plan: c.Plan, Server: c.Server, Names: names, CPU: -1}
	var files []*os.File
	if i > 0 {
		files = append(files, links[i-1].In...)
		config.In = len(links[i-1].In)
	}
	if i < len(links) {
		files = append(files, links[i].Out...)
		config.Out = len(links[i].Out)
	}
	if c.Pin != nil {
		config.CPU = c.Pin(i)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self)
	if c.Command != nil {
		cmd = c.Command(i)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, Env+"="+string(raw))
	cmd.ExtraFiles = files
	return startProcess(cmd)
}

// process is a stage as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Reader
	stderr strings.Builder
	last   *words
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd}
	cmd.Stderr = &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewReaderSize(out, 1<<20)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a stage: %w", err)
	}
	return p, nil
}

func (p *process) ready() error {
	line, err := p.lines.ReadString('\n')
	if err == nil && strings.TrimSpace(line) == "ready" {
		return nil
	}
	return fmt.Errorf("it did not get ready: %s %s", strings.TrimSpace(line), brief(p.stderr.String()))
}

// words waits for the last line of the stage.
func (p *process) words() (*words, error) {
	if p.last != nil {
		return p.last, nil
	}
	line, err := p.lines.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("it ended: %w; %s", err, brief(p.stderr.String()))
	}
	var w words
	if err := json.Unmarshal(line, &w); err != nil {
		return nil, fmt.Errorf("it said %.200q", line)
	}
	p.last = &w
	if w.Error != "" {
		return nil, errors.New(w.Error)
	}
	return &w, nil
}

func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.stdin.Close()
	if p.last == nil || p.last.Error != "" {
		_ = p.cmd.Process.Kill() // it may wait for a neighbour that has gone
	}
	_ = p.cmd.Wait() // how it ended was told by its words
}

func brief(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 600 {
		s = s[:600] + "…"
	}
	return s
}
