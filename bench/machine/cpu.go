// Package machine tells what a comparison ran on, and what its processes used of it.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CPU is the time that processes have used: by process, with the name of its program.
type CPU map[int]usage

type usage struct {
	name    string
	seconds float64
}

// Of sums the time of the processes of some programs.
func (c CPU) Of(names ...string) float64 {
	sum := 0.0
	for _, u := range c {
		for _, n := range names {
			if u.name == n {
				sum += u.seconds
			}
		}
	}
	return sum
}

// All sums the time of all processes.
func (c CPU) All() float64 {
	sum := 0.0
	for _, u := range c {
		sum += u.seconds
	}
	return sum
}

// Since is what was used after an earlier reading. A process that has begun since counts whole.
func (c CPU) Since(before CPU) CPU {
	out := CPU{}
	for pid, u := range c {
		u.seconds -= before[pid].seconds
		out[pid] = u
	}
	return out
}

// TreeCPU reads the time of a process and of all that descend from it. Those that end meanwhile are
// passed over.
func TreeCPU(root int) CPU {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if b, err := os.ReadFile(path); err == nil {
			if _, rest, ok := bytes.Cut(b, []byte(") ")); ok {
				var state byte
				var ppid int
				if _, err := fmt.Sscanf(string(rest), "%c %d", &state, &ppid); err == nil {
					parents[pid] = ppid
				}
			}
		}
	}
	out := CPU{}
	for pid := range parents {
		if descends(pid, root, parents) {
			out[pid] = usage{name: program(pid), seconds: processCPU(pid)}
		}
	}
	return out
}

func descends(pid, root int, parents map[int]int) bool {
	for steps := 0; pid > 1 && steps < 64; steps++ {
		if pid == root {
			return true
		}
		pid = parents[pid]
	}
	return false
}

func program(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(exe), " (deleted)")
}

// processCPU sums the time on a core of a process's threads, which the scheduler keeps in nanoseconds.
func processCPU(pid int) float64 {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	sum := 0.0
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseFloat(ns, 64)
		sum += n / 1e9
	}
	return sum
}
