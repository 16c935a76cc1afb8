package peer

import (
	"bufio"
	"context"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/machine"
)

//go:embed functions
var functions embed.FS

// Weft is a pipeline of stages functions, as a user writes it, run by the weft command on the embedded
// platform. Its generator, which is Weft's own, paces the first function; that one makes the load's events and stamps
// them, as the first stage of every other chain does: one of each that the generator sends, or many, as fast as it goes.
type Weft struct {
	Binary    string // the weft command
	Language  string // "go" or "python"
	Stages    int
	Plan      load.Plan
	Transport string // of the edges, as in a spec; "" is the default
	Fuse      string // of the vertices; "" is the default
}

// Run runs the pipeline to its end.
func (w Weft) Run(ctx context.Context) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Plan.Limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "weft-compare-")
	if err != nil {
		return load.Result{}, err
	}
	defer os.RemoveAll(dir)
	if err := w.write(dir); err != nil {
		return load.Result{}, err
	}
	cmd := exec.CommandContext(ctx, w.Binary, "run", filepath.Join(dir, "pipeline.yaml"), "--lease", "5m")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it takes down what it started
	cmd.WaitDelay = 20 * time.Second
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return load.Result{}, err
	}
	if err := cmd.Start(); err != nil {
		return load.Result{}, fmt.Errorf("start weft: %w", err)
	}
	r, err := w.listen(out, cmd.Process.Pid)
	if wait := cmd.Wait(); wait != nil || err != nil {
		return load.Result{}, fmt.Errorf("weft run: %w: %s", errors.Join(err, wait), brief(words.String()))
	}
	return r, nil
}

// tailShare of the events are sent after the counted ones, so that the CPU time is read while they flow.
const tailShare = 10

// count is how many events the generator sends.
func (w Weft) count() int {
	return (w.Plan.Warmup+w.Plan.Events+w.Plan.Events/tailShare+10)/w.batch() + 1
}

// Batches of a load that goes as fast as it can: so many events, and bytes at most.
const (
	batchEvents = 64
	batchBytes  = 64 << 10
)

// batch is how many events the first function makes of one of the generator's.
func (w Weft) batch() int {
	if w.Plan.Rate > 0 || w.Language != "go" {
		return 1
	}
	return max(1, min(batchEvents, batchBytes/max(w.Plan.Payload, 1)))
}

// every keeps the latencies of a long run to what one event can carry.
func (w Weft) every() int { return max(1, w.Plan.Events/20000) }

func (w Weft) write(dir string) error {
	suffix, kind := ".go", "go:1.26"
	if w.Language == "python" {
		suffix, kind = ".py", "python:3"
	}
	for _, name := range []string{"first", "pass", "last"} {
		b, err := functions.ReadFile("functions/" + name + "/" + name + suffix)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+suffix), b, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(w.spec(suffix, kind)), 0o644)
}

func (w Weft) spec(suffix, kind string) string {
	fresh := ""
	if w.Plan.Fresh {
		fresh = `, FRESH: "1"`
	}
	env := fmt.Sprintf(`{SIZE: "%d", RATE: "%g", BATCH: "%d", WARMUP: "%d", EVENTS: "%d", EVERY: "%d"%s}`,
		w.Plan.Payload, w.Plan.Rate, w.batch(), w.Plan.Warmup, w.Plan.Events, w.every(), fresh)
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: weft/v1\nkind: Pipeline\nmetadata: {name: compare}\nspec:\n")
	if w.Fuse != "" {
		fmt.Fprintf(&b, "  fuse: %s\n", w.Fuse)
	}
	if w.Transport != "" {
		fmt.Fprintf(&b, "  transport: %s\n", w.Transport)
	}
	rate := ""
	if w.Plan.Rate > 0 {
		rate = fmt.Sprintf("rate: %g, ", w.Plan.Rate)
	}
	fmt.Fprintf(&b, "  vertices:\n    - {name: in, source: {generator: {%scount: %d, size: 1}}}\n", rate, w.count())
	for i := range w.Stages {
		fmt.Fprintf(&b, "    - {name: f%d, function: {source: %s%s, kind: \"%s\", env: %s}}\n", i, w.role(i), suffix, kind, env)
	}
	b.WriteString("    - {name: out, sink: {stdout: {}}}\n  edges:\n    - {from: in, to: f0, routing: forward}\n")
	for i := 1; i < w.Stages; i++ {
		fmt.Fprintf(&b, "    - {from: f%d, to: f%d, routing: forward}\n", i-1, i)
	}
	fmt.Fprintf(&b, "    - {from: f%d, to: out, routing: forward}\n", w.Stages-1)
	return b.String()
}

func (w Weft) role(i int) string {
	switch i {
	case 0:
		return "first"
	case w.Stages - 1:
		return "last"
	}
	return "pass"
}

// listen reads what the last function tells, and the CPU time between its two marks.
func (w Weft) listen(out io.Reader, pid int) (load.Result, error) {
	var r load.Result
	var before machine.CPU
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r, err
		}
		var said struct {
			Mark, Sent, Due string
			Began, Ended    int64
		}
		if err := json.Unmarshal(line, &said); err != nil {
			return r, fmt.Errorf("weft printed %.100q: %w", line, err)
		}
		switch said.Mark {
		case "first":
			before = machine.TreeCPU(pid)
		case "last":
			spent := machine.TreeCPU(pid).Since(before)
			r.Server = spent.Of("weft", "invokerhook")
			r.CPU = spent.All() - r.Server
		default:
			r.Events, r.Seconds = w.Plan.Events, float64(said.Ended-said.Began)/1e9
			if err := latencies(&r, said.Sent, said.Due); err != nil {
				return r, err
			}
		}
	}
	if r.Events == 0 {
		return r, errors.New("the last function told no result")
	}
	return r, nil
}

func latencies(r *load.Result, sent, due string) error {
	for text, to := range map[string]**hdrhistogram.Snapshot{sent: &r.Sent, due: &r.Due} {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("read latencies: %w", err)
		}
		values := make([]int64, len(raw)/8)
		for i := range values {
			values[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		*to = load.Snapshot(values)
	}
	return nil
}
