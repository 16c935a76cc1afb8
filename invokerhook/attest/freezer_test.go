package attest

import (
	"maps"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestFreezerPaths: where the kernel says of a process that it is frozen, as a hook sees it on a host, and in a
// container of its own.
func TestFreezerPaths(t *testing.T) {
	const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	const v1 = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
		"31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 30 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
	for name, c := range map[string]struct {
		mountinfo, cgroup string
		want              map[string]string
	}{
		"v2": {v2, "0::/system.slice/docker-ab.scope\n", map[string]string{"/sys/fs/cgroup/system.slice/docker-ab.scope/cgroup.events": "frozen 1\n"}},
		"v1": {v1, "7:cpu,cpuacct:/docker/ab\n6:freezer:/docker/ab\n", map[string]string{"/sys/fs/cgroup/freezer/docker/ab/freezer.state": "FROZEN\n"}},
		"both": {v1 + "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "6:freezer:/docker/ab\n0::/docker/ab\n",
			map[string]string{"/sys/fs/cgroup/freezer/docker/ab/freezer.state": "FROZEN\n", "/sys/fs/cgroup/unified/docker/ab/cgroup.events": "frozen 1\n"}},
		"the folder of another container": {"30 23 0:28 /docker/cd /sys/fs/cgroup/freezer ro - cgroup cgroup rw,freezer\n", "6:freezer:/docker/ab\n", nil},
		"below what is mounted":           {"30 23 0:28 /docker /host/freezer ro - cgroup cgroup rw,freezer\n", "6:freezer:/docker/ab\n", map[string]string{"/host/freezer/ab/freezer.state": "FROZEN\n"}},
		"a name that begins alike":        {"30 23 0:28 /dock /host/freezer ro - cgroup cgroup rw,freezer\n", "6:freezer:/docker/ab\n", nil},
		"outside of the hook's namespace": {v2, "0::/../docker-ab.scope\n", nil},
		"nothing":                         {"", "", nil},
	} {
		if got := freezerPaths(c.mountinfo, c.cgroup); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestStopped: the kernel's word on a process that is stopped, goes on, and ends.
func TestStopped(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := hold(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	becomes := func(want bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); h.Stopped() != want; {
			if time.Now().After(end) {
				t.Fatalf("stopped: not %v", want)
			}
		}
	}
	becomes(false)
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	becomes(true)
	_ = cmd.Process.Signal(syscall.SIGCONT)
	becomes(false)
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	becomes(true)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	becomes(false)
}
