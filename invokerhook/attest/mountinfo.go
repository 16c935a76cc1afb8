package attest

import (
	"fmt"
	"strings"
)

// ownFiles are what Docker mounts into each container from its folder …/containers/ID/.
var ownFiles = []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}

// mountID is the id in the sources of those mounts. The ids elsewhere in mountinfo are overlay layers'. A
// mount whose source is on an overlay is not Docker's: a container could have made it of its own files.
func mountID(mountinfo string) (string, error) {
	id := ""
	for line := range strings.Lines(mountinfo) {
		found := mountedFrom(line)
		if found != "" && id != "" && found != id {
			return "", fmt.Errorf("its mounts are of two containers, %.12s and %.12s", id, found)
		}
		if found != "" {
			id = found
		}
	}
	return id, nil
}

// mountedFrom reads one line: id, parent, device, root, mount point, options, fields up to " - ", then the
// file system's type, its source and its options.
func mountedFrom(line string) string {
	before, after, ok := strings.Cut(line, " - ")
	f := strings.Fields(before)
	if !ok || len(f) < 6 || strings.HasPrefix(after, "overlay ") {
		return ""
	}
	root, point := f[3], f[4]
	for _, file := range ownFiles {
		if point != file {
			continue
		}
		dir, ok := strings.CutSuffix(root, file[len("/etc"):])
		if !ok {
			return ""
		}
		at := strings.LastIndexByte(dir, '/')
		if at < 0 || !strings.HasSuffix(dir[:at], "/containers") || !isID(dir[at+1:]) {
			return ""
		}
		return dir[at+1:]
	}
	return ""
}
