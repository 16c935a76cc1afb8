package localwhisk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// imageEnv names the image that has the test binary as its entry point; set, every platform of the tests
// has Docker's containers.
const imageEnv = "LOCALWHISK_TEST_IMAGE"

// onDocker makes a platform one with Docker's containers, where the tests are told so.
func onDocker(cfg *localwhisk.Config) {
	if image := os.Getenv(imageEnv); image != "" {
		cfg.Docker = &localwhisk.Docker{}
		cfg.Runtimes = map[string]localwhisk.Runtime{"go:1.26": {Image: image}}
	}
}

// docker runs a command of Docker. It skips where there is none, but fails in CI.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") == "" && args[0] == "version":
		t.Skipf("Docker is needed: install it (Debian: docker.io) and start its daemon: %v %s", err, out)
	default:
		t.Fatalf("docker %s: %v %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// testImage builds this test binary, which needs nothing else, into an image.
func testImage(t *testing.T) string {
	t.Helper()
	docker(t, "version")
	dir := t.TempDir()
	build := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "container"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	file := "FROM scratch\nCOPY container /container\nENV " + containerEnv + "=1\nENTRYPOINT [\"/container\", \"0.0.0.0\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	image := fmt.Sprintf("localwhisk-test:%d", os.Getpid())
	docker(t, "build", "-q", "-t", image, dir)
	t.Cleanup(func() { docker(t, "rmi", "-f", image) })
	return image
}

// The tests of what containers do, with Docker's.
func TestOnDocker(t *testing.T) {
	if os.Getenv(imageEnv) != "" {
		t.Skip("this is it")
	}
	image := testImage(t)
	for _, name := range []string{"TestOutcomes", "TestTimeLimit", "TestFailedInit", "TestMemoryLimit", "TestLogs",
		"TestLongestIdleFirst", "TestPassOverLast", "TestHold", "TestPrewarm", "TestInvokeBlocking",
		"TestLargePayloads", "TestDocker"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^"+name+"$", "-test.parallel", "1")
			cmd.Env = append(os.Environ(), imageEnv+"="+image)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestDocker is what is seen with Docker alone; TestOnDocker runs it.
func TestDocker(t *testing.T) {
	image := os.Getenv(imageEnv)
	if image == "" {
		t.Skip("TestOnDocker runs it")
	}
	p, c := start(t, func(c *localwhisk.Config) {
		c.PauseGrace = time.Second
		c.UserMemoryMB = 1024
		c.Docker.ExtraArgs = map[string][]string{"env": {"A=b"}, "add-host": {"hook:10.0.0.1"}}
	})
	put(t, c, "m", nil)
	w := ask(t, c, "m")
	name := p.Containers()[0].Name
	seen := docker(t, "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}} {{.HostConfig.NetworkMode}} "+
		"{{.HostConfig.PidsLimit}} {{range .HostConfig.Ulimits}}{{.Name}}={{.Soft}}:{{.Hard}}{{end}} "+
		"{{.HostConfig.LogConfig.Type}} {{.HostConfig.ExtraHosts}} {{.HostConfig.Privileged}}", name)
	if want := "134217728 134217728 128 bridge 1024 nofile=1024:1024 json-file [hook:10.0.0.1] false"; seen != want {
		t.Errorf("arguments\n%s, want\n%s", seen, want)
	}
	if dropped := docker(t, "inspect", "-f", "{{.HostConfig.CapDrop}}", name); !strings.Contains(dropped, "NET_RAW") || !strings.Contains(dropped, "NET_ADMIN") {
		t.Errorf("dropped capabilities %s", dropped)
	}
	if !strings.HasPrefix(name, "wsk") || !strings.HasSuffix(name, "0_1_guest_m") {
		t.Errorf("name %s", name)
	}
	state := func() string { return docker(t, "inspect", "-f", "{{.State.Status}}", name) }
	eventually(t, "paused container", func() bool { return state() == "paused" })
	if n := ask(t, c, "m"); n.Pid != w.Pid || n.Served != 2 {
		t.Errorf("after the pause %+v, before it %+v", n, w)
	}

	settle(t, p)
	if err := syscall.Kill(p.Containers()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end", func() bool { return state() == "exited" })
	if n := ask(t, c, "m"); n.Pid == w.Pid || n.Served != 1 {
		t.Errorf("after its end: %+v", n)
	}

	// An action's own image: tagged, it may be there already; its output ends where it ends.
	put(t, c, "own", func(a *openwhisk.Action) { a.Exec = &openwhisk.Exec{Kind: openwhisk.KindBlackbox, Image: image} })
	if inv := invoke(t, c, "own", params{"mode": "nosentinel"}); inv.Status != 200 {
		t.Errorf("own image: %d %s", inv.Status, inv.Result)
	}
	put(t, c, "none", func(a *openwhisk.Action) {
		a.Exec = &openwhisk.Exec{Kind: openwhisk.KindBlackbox, Image: "localwhisk-test-none"}
	})
	if inv := invoke(t, c, "none", nil); inv.Status != 502 || !strings.Contains(string(inv.Activation.Response.Result), "Failed to pull container image 'localwhisk-test-none'.") {
		t.Errorf("no image: %d %s", inv.Status, inv.Activation.Response.Result)
	}

	names := []string{}
	for _, c := range p.Containers() {
		names = append(names, c.Name)
	}
	p.Close()
	for _, n := range strings.Fields(docker(t, "ps", "-a", "--format", "{{.Names}}")) {
		if slices.Contains(names, n) {
			t.Errorf("%s is left", n)
		}
	}
}

func TestExtraArgs(t *testing.T) {
	for _, args := range []map[string][]string{{"privileged": {"true"}}, {"ulimit": {"nofile"}}, {"volume": {"/run"}}} {
		p := localwhisk.New(localwhisk.Config{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Docker: &localwhisk.Docker{ExtraArgs: args}})
		if err := p.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "extra-args.") {
			t.Errorf("%v: %v", args, err)
			p.Close()
		}
	}
}
