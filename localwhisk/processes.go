package localwhisk

import (
	"bytes"
	"os"
	"strconv"
)

// processes are this machine's, by id, at one moment.
type processes map[int]process

type process struct {
	parent int
	group  int
}

// scanProcesses reads them from /proc. A process that ends meanwhile is left out.
func scanProcesses() processes {
	ps := processes{}
	dir, err := os.Open("/proc")
	if err != nil {
		return ps
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read until an error is what there is
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything; behind it: state, parent, group.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(f) < 3 {
			continue
		}
		parent, _ := strconv.Atoi(string(f[1]))
		group, _ := strconv.Atoi(string(f[2]))
		ps[pid] = process{parent, group}
	}
	return ps
}

// container lists the processes of a container: those that descend from its
// first one, whatever group they have made for themselves, and what is left
// in its group of those whose parent has ended.
func (ps processes) container(root int) []int {
	in := map[int]bool{root: true}
	for pid, p := range ps {
		if p.group == root {
			in[pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, p := range ps {
			if in[p.parent] && !in[pid] {
				in[pid], grown = true, true
			}
		}
	}
	out := make([]int, 0, len(in))
	for pid := range in {
		out = append(out, pid)
	}
	return out
}

// anonymousBytes is what a process has in memory that no file or shared
// memory stands behind; 0 if it is gone.
func anonymousBytes(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(b)
	if len(f) < 3 {
		return 0
	}
	resident, _ := strconv.Atoi(string(f[1]))
	shared, _ := strconv.Atoi(string(f[2]))
	return max(0, resident-shared) * os.Getpagesize()
}
