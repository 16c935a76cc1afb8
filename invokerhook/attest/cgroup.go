package attest

import (
	"errors"
	"fmt"
	"strings"
)

// idLen is the length of a container's id.
const idLen = 64

// Layouts of a container's cgroup: /docker/ID, /system.slice/docker-ID.scope, /kubepods/…/ID,
// /kubepods.slice/…/cri-containerd-ID.scope, /system.slice/containerd.service/…:cri-containerd:ID, each
// below a parent that the operator may have chosen, and of cgroup v1 one line for each hierarchy.

// place is what /proc says of where a process is: its cgroup and mountinfo files.
type place struct{ cgroup, mountinfo string }

// containerID names the container of a process; "" when it is in none but the one that the hook runs in.
func containerID(hook, p place) (string, error) {
	byGroup, pod, err := cgroupID(hook.cgroup, p.cgroup)
	if err != nil {
		return "", err
	}
	// A pod's containers share the files of the one that holds its network: they say nothing of their own.
	if pod && byGroup != "" {
		return byGroup, nil
	}
	byMount, err := mountID(p.mountinfo)
	if err != nil {
		return "", err
	}
	if byMount != "" && byGroup == "" {
		ours, err := mountID(hook.mountinfo)
		if err == nil && ours == byMount {
			return "", nil
		}
	}
	switch {
	case byMount == "":
		return byGroup, nil
	case byGroup != "" && byMount != byGroup:
		return "", fmt.Errorf("its cgroup is container %.12s's and its mounts are container %.12s's", byGroup, byMount)
	}
	return byMount, nil
}

// cgroupID is the one id that the hierarchies' paths name below the hook's own.
func cgroupID(self, cgroup string) (id string, pod bool, err error) {
	ours := paths(self)
	theirs := paths(cgroup)
	if len(theirs) == 0 {
		return "", false, errors.New("its cgroup can't be read")
	}
	for hierarchy, path := range theirs {
		if mine, ok := ours[hierarchy]; ok {
			path = below(mine, path)
		}
		for part := range strings.SplitSeq(path, "/") {
			pod = pod || strings.HasPrefix(part, "kubepods")
			found := idOf(part)
			if found != "" && id != "" && found != id {
				return "", false, fmt.Errorf("its cgroups name two containers, %.12s and %.12s", id, found)
			}
			if found != "" {
				id = found
			}
		}
	}
	return id, pod, nil
}

// paths are the lines "hierarchy:controllers:path".
func paths(cgroup string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && strings.HasPrefix(f[2], "/") {
			out[f[0]+":"+f[1]] = f[2]
		}
	}
	return out
}

// below cuts our own path off the beginning of theirs, where that is in it.
func below(ours, theirs string) string {
	if ours == "/" {
		return theirs
	}
	rest, ok := strings.CutPrefix(theirs, ours)
	if ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return theirs
}

// idOf is the id in one part of a path: all of it, or what is between the last - or : and a unit's suffix.
func idOf(part string) string {
	part = strings.TrimSuffix(strings.TrimSuffix(part, ".scope"), ".slice")
	part = part[strings.LastIndexAny(part, "-:")+1:]
	if !isID(part) {
		return ""
	}
	return part
}

func isID(s string) bool {
	if len(s) != idLen {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
