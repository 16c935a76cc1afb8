package peer

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/internal/jars"
)

//go:embed flink/Chain.java
var flinkSource embed.FS

// flinkVersion is Apache Flink's.
const flinkVersion = "2.3.0"

// Flink is Apache Flink's MiniCluster with the chain's program, compiled once.
type Flink struct{ dir, libs string }

// NewFlink brings Flink's jars and compiles the chain into dir.
func NewFlink(ctx context.Context, dir string) (*Flink, error) {
	libs, err := jars.Folder(ctx, "flink-"+flinkVersion, "org.apache.flink:flink-clients:"+flinkVersion, "org.apache.flink:flink-streaming-java:"+flinkVersion)
	if err != nil {
		return nil, err
	}
	f := &Flink{dir: filepath.Join(dir, "flink"), libs: filepath.Join(libs, "*")}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return nil, err
	}
	b, err := flinkSource.ReadFile("flink/Chain.java")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(f.dir, "Chain.java")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-cp", f.libs, "-d", f.dir, path).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile Flink's chain with javac: %w: %s", err, brief(string(out)))
	}
	return f, nil
}

// Run runs a chain of stages operators. A time-out of buffers of -1 is Flink's default, 100 ms.
func (f *Flink) Run(ctx context.Context, stages int, p load.Plan, timeout int, chained bool) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	every := max(1, p.Events/20000)
	args := []string{"-Xmx1g", "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
		"-cp", f.dir + ":" + f.libs, "Chain"}
	for _, n := range []int{stages, p.Payload} {
		args = append(args, strconv.Itoa(n))
	}
	args = append(args, fmt.Sprint(p.Rate))
	for _, n := range []int{p.Warmup, p.Events, timeout} {
		args = append(args, strconv.Itoa(n))
	}
	cmd := exec.CommandContext(ctx, "java", append(args, strconv.FormatBool(chained), strconv.Itoa(every))...)
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return load.Result{}, fmt.Errorf("run Flink: %w: %s", err, brief(words.String()))
	}
	var said struct {
		Seconds, CPU float64
		Sent, Due    []int64
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return load.Result{}, fmt.Errorf("Flink printed %.200q: %w", out, err)
	}
	r := load.Result{Events: p.Events, Seconds: said.Seconds, CPU: said.CPU}
	r.Sent, r.Due = load.Snapshot(said.Sent), load.Snapshot(said.Due)
	return r, nil
}

func brief(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 800 {
		s = "…" + s[len(s)-800:]
	}
	return s
}
