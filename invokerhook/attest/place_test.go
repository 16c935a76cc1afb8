package attest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vector is one of testdata: what /proc says of the hook and of a caller, and the id, "" for none, or
// "refused: words".
type vector struct {
	hook, caller place
	want         string
}

func vectors(t testing.TB) map[string]vector {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	out := map[string]vector{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "-- ") {
				parts = append(parts, "")
				continue
			}
			parts[len(parts)-1] += line
		}
		if len(parts) != 5 {
			t.Fatalf("%s has %d parts", name, len(parts))
		}
		out[strings.TrimSuffix(filepath.Base(name), ".txt")] = vector{place{parts[0], parts[1]}, place{parts[2], parts[3]}, strings.TrimSpace(parts[4])}
	}
	return out
}

func TestContainerOfEveryLayout(t *testing.T) {
	for name, v := range vectors(t) {
		id, err := containerID(v.hook, v.caller)
		words, refused := strings.CutPrefix(v.want, "refused: ")
		switch {
		case refused && (err == nil || !strings.Contains(err.Error(), words)):
			t.Errorf("%s: %q, %v, want an error with %q", name, id, err, words)
		case !refused && (err != nil || id != v.want):
			t.Errorf("%s: %q, %v, want %q", name, id, err, v.want)
		}
	}
}

// FuzzPlace: whatever the files say, an id that is found stands in them, and one of another container
// added anywhere is refused, or changes nothing.
func FuzzPlace(f *testing.F) {
	other := strings.Repeat("e", idLen)
	for _, v := range vectors(f) {
		f.Add(v.hook.cgroup, v.hook.mountinfo, v.caller.cgroup, v.caller.mountinfo)
	}
	f.Fuzz(func(t *testing.T, hc, hm, c, m string) {
		hook, caller := place{hc, hm}, place{c, m}
		id, err := containerID(hook, caller)
		if id == "" || err != nil {
			return
		}
		if !isID(id) || !strings.Contains(c+m, id) {
			t.Fatalf("container %q is not in the files", id)
		}
		if id == other || strings.Contains(hc+hm+c+m, other) {
			return
		}
		line := "999 1 254:0 /var/lib/docker/containers/" + other + "/hosts /etc/hosts rw - ext4 /dev/vda rw\n"
		for _, p := range []place{{c + "\n99:other:/docker/" + other + "\n", m}, {c, m + "\n" + line}} {
			if got, err := containerID(hook, p); err == nil && got != id {
				t.Fatalf("container %s became %s", id, got)
			}
		}
	})
}
