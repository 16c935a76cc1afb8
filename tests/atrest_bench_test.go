package tests

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkAtRest measures a pipeline that waits for input: the memory of a proxy with its mesh up, and
// the processor time of its proxies and of the hook.
func BenchmarkAtRest(b *testing.B) {
	need(b, "python3", "Python 3")
	dir := b.TempDir()
	write(b, dir, "f.py", identity)
	write(b, dir, "p.yaml", strings.Replace(chainSpec(8), "generator: {rate: 1}", "stdin: {}", 1))
	in, open := fifo(b, dir)
	w := weftIn(b, dir, "run", "p.yaml", "--in", in)
	end := input(b, open, w)
	defer end.Close()
	w.running()
	var proxies []int
	hook := 0
	for pid, line := range processesWith(w.mark) {
		switch filepath.Base(strings.Fields(line)[0]) {
		case "actionproxy":
			proxies = append(proxies, pid)
		case "invokerhook":
			hook = pid
		}
	}
	largest := 0
	var busy, hookBusy time.Duration
	const long = 5 * time.Second
	for range b.N {
		before, hookBefore := processorTime(b, proxies...), processorTime(b, hook)
		<-time.After(long) // what is measured is what happens when nothing does
		busy += processorTime(b, proxies...) - before
		hookBusy += processorTime(b, hook) - hookBefore
	}
	for _, pid := range proxies {
		largest = max(largest, residentKB(b, pid))
	}
	b.ReportMetric(float64(largest)/1024, "MB/proxy")
	b.ReportMetric(100*busy.Seconds()/long.Seconds()/float64(b.N*len(proxies)), "%core/proxy")
	b.ReportMetric(100*hookBusy.Seconds()/long.Seconds()/float64(b.N), "%core/hook")
	b.ReportMetric(0, "ns/op")
}

// processorTime is what processes have used so far. The clock's ticks are hundredths of a second.
func processorTime(b *testing.B, pids ...int) time.Duration {
	b.Helper()
	ticks := 0
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func residentKB(b *testing.B, pid int) int {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb
}
