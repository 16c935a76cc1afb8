package attest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// freezer is a file in which the kernel says whether a process's cgroup is frozen: with cgroup v2, and in v1's
// hierarchy of that name, the group itself or one that it lies in.
type freezer struct {
	file   *os.File
	frozen []byte // what is in it then
}

// freezerPaths are the paths of those files, and what is in each when the group is frozen. mountinfo is ours: what
// isn't mounted here, as for a hook in a container of its own that sees no cgroups but its own, is left out.
func freezerPaths(mountinfo, cgroup string) map[string]string {
	out := map[string]string{}
	for hierarchy, path := range paths(cgroup) {
		_, controllers, _ := strings.Cut(hierarchy, ":")
		name, frozen := "cgroup.events", "frozen 1\n"
		if controllers != "" {
			name, frozen = "freezer.state", "FROZEN\n"
		}
		if controllers != "" && !slices.Contains(strings.Split(controllers, ","), "freezer") {
			continue
		}
		for line := range strings.Lines(mountinfo) {
			before, after, _ := strings.Cut(line, " - ")
			f, fs := strings.Fields(before), strings.Fields(after)
			if len(f) < 6 || len(fs) < 3 {
				continue
			}
			v2 := controllers == "" && fs[0] == "cgroup2"
			v1 := controllers != "" && fs[0] == "cgroup" && slices.Contains(strings.Split(fs[2], ","), "freezer")
			rest, within := strings.CutPrefix(path, strings.TrimSuffix(f[3], "/"))
			if (v1 || v2) && within && (rest == "" || rest[0] == '/') && !strings.Contains(rest, "..") {
				out[filepath.Join(f[4], rest, name)] = frozen
			}
		}
	}
	return out
}

// openFreezers opens what can be opened. The root of a hierarchy has no such file, and can't be frozen.
func openFreezers(pid int) []freezer {
	mountinfo, merr := os.ReadFile("/proc/self/mountinfo")
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || merr != nil {
		return nil
	}
	var out []freezer
	for path, frozen := range freezerPaths(string(mountinfo), string(cgroup)) {
		if file, err := os.Open(path); err == nil {
			out = append(out, freezer{file, []byte(frozen)})
		}
	}
	return out
}

// is reads the file anew.
func (f freezer) is() bool {
	var b [256]byte
	n, err := f.file.ReadAt(b[:], 0)
	return (err == nil || err == io.EOF) && bytes.Contains(b[:n], f.frozen)
}

// Stopped says whether the kernel lets no thread of the process run: a signal has stopped it, or its cgroup is
// frozen. No also where that isn't to be seen from here.
func (h *Held) Stopped() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd == nil {
		return false
	}
	if !h.looked {
		h.looked, h.freezers = true, openFreezers(h.PID)
		h.state, _ = os.Open(fmt.Sprintf("/proc/%d/stat", h.PID))
	}
	for _, f := range h.freezers {
		if f.is() {
			return true
		}
	}
	if h.state == nil {
		return false
	}
	var b [64]byte // number, name of at most 16 bytes, state
	n, _ := h.state.ReadAt(b[:], 0)
	return bytes.Contains(b[:n], []byte(") T "))
}
