package peer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/machine"
)

const (
	idleTime = 5 * time.Second // how long idle workers are watched
	// settleTime is how long before the platform has paused the containers that it has started beside theirs, which
	// it does 10 s after their last use.
	settleTime = 12 * time.Second
)

// Idle runs a pipeline of so many functions through which nothing flows, and gives the CPU time of its
// workers: proxies and functions.
func Idle(ctx context.Context, weft string, functions int, p load.Plan) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "weft-compare-")
	if err != nil {
		return load.Result{}, err
	}
	defer os.RemoveAll(dir)
	w := Weft{Language: "go", Stages: functions, Plan: load.Plan{Payload: 64, Rate: 0.001, Events: 1, Limit: p.Limit}}
	if err := w.write(dir); err != nil {
		return load.Result{}, err
	}
	cmd := exec.CommandContext(ctx, weft, "run", filepath.Join(dir, "pipeline.yaml"), "--lease", "5m")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	words, err := cmd.StderrPipe()
	if err != nil {
		return load.Result{}, err
	}
	if err := cmd.Start(); err != nil {
		return load.Result{}, fmt.Errorf("start weft: %w", err)
	}
	defer func() { _ = cmd.Wait() }() // it is interrupted: its code says so
	defer cancel()
	var said strings.Builder
	for lines := bufio.NewScanner(words); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if !strings.Contains(lines.Text(), "running after") {
			continue
		}
		go func() {
			for lines.Scan() { // until it ends, so that it never waits for us
			}
		}()
		return watch(ctx, cmd.Process.Pid)
	}
	return load.Result{}, fmt.Errorf("the pipeline did not get ready: %s", brief(said.String()))
}

func watch(ctx context.Context, pid int) (load.Result, error) {
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case <-settle.C:
	case <-ctx.Done():
		return load.Result{}, ctx.Err()
	}
	before, began := machine.TreeCPU(pid), load.Now()
	time.Sleep(idleTime)
	spent := machine.TreeCPU(pid).Since(before)
	r := load.Result{Seconds: float64(load.Now()-began) / 1e9, Server: spent.Of("weft", "invokerhook")}
	r.CPU = spent.All() - r.Server
	return r, nil
}
