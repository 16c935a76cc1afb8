package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkStart measures how long a chain of eight functions takes from the start's invocation until it
// runs, against a chain of one and against eight function processes started side by side without Weft.
func BenchmarkStart(b *testing.B) {
	need(b, "python3", "Python 3")
	_, r, _ := up(b)
	dir1, dir8 := chain(b, 1), chain(b, 8)
	var eight, one, bare time.Duration
	for range b.N {
		one += r.startChain(b, dir1, 1)
		eight += r.startChain(b, dir8, 8)
		bare += startBare(b, 8)
	}
	b.ReportMetric(float64(eight.Milliseconds())/float64(b.N), "ms/chain-of-8")
	b.ReportMetric(float64(one.Milliseconds())/float64(b.N), "ms/chain-of-1")
	b.ReportMetric(float64(bare.Milliseconds())/float64(b.N), "ms/8-processes")
	b.ReportMetric(float64(eight)/float64(bare), "of-8-processes")
	b.ReportMetric(float64(eight)/float64(one), "of-chain-of-1")
	b.ReportMetric(0, "ns/op")
}

const identity = "def main(event):\n    yield event\n"

// chain writes a pipeline of n functions into a folder.
func chain(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	write(b, dir, "f.py", identity)
	write(b, dir, "p.yaml", chainSpec(n))
	return dir
}

func chainSpec(n int) string {
	var spec strings.Builder
	fmt.Fprintf(&spec, "apiVersion: weft/v1\nkind: Pipeline\nmetadata: {name: chain%d}\nspec:\n  vertices:\n", n)
	fmt.Fprintf(&spec, "    - {name: in, source: {generator: {rate: 1}}}\n")
	for i := range n {
		fmt.Fprintf(&spec, "    - {name: f%d, function: {source: f.py}}\n", i)
	}
	fmt.Fprintf(&spec, "    - {name: out, sink: {stdout: {}}}\n  edges:\n    - {from: in, to: f0}\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&spec, "    - {from: f%d, to: f%d}\n", i-1, i)
	}
	fmt.Fprintf(&spec, "    - {from: f%d, to: out}\n", n-1)
	return spec.String()
}

// startChain deploys the chain anew, so that no container of it is warm, and gives the time from the
// start's invocation until every stage is ready; then it stops it.
func (r rest) startChain(b *testing.B, dir string, n int) time.Duration {
	b.Helper()
	deployed(b, r, dir)
	name := "chain" + strconv.Itoa(n)
	a := r.conduct(name, "start")
	if !a.Response.Success {
		b.Fatalf("start %s: %s", name, a.Response.Result)
	}
	if stop := r.conduct(name, "stop"); !stop.Response.Success {
		b.Fatalf("stop %s: %s", name, stop.Response.Result)
	}
	return time.Duration(a.End-a.Start) * time.Millisecond
}

// startBare starts n Python processes that do what the launcher does until a function can be called.
func startBare(b *testing.B, n int) time.Duration {
	b.Helper()
	dir := b.TempDir()
	write(b, dir, "f.py", identity)
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			cmd := exec.Command("python3", "-c", "import sys, weft, f; print(f.main)")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PYTHONPATH="+sdk+":"+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}
