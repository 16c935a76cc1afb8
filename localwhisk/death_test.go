package localwhisk_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// platformEnv makes the test binary run a platform of its own, call one
// action, print its container's process id and stay.
const platformEnv = "LOCALWHISK_TEST_PLATFORM"

func servePlatform(dir string) {
	p := localwhisk.New(localwhisk.Config{Listen: "127.0.0.1:0", StateDir: dir,
		Runtimes: map[string]localwhisk.Runtime{"go:1.26": {Command: []string{os.Args[0], "{address}"}, Env: []string{containerEnv + "=1"}}}})
	ctx := context.Background()
	if err := p.Open(ctx); err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	c, _ := openwhisk.NewClient(openwhisk.Config{APIHost: p.APIHost(), Auth: p.Auth()})
	c.PutAction(ctx, "m", openwhisk.Action{Exec: openwhisk.CodeExec("go:1.26", "eA==", true)}, true)
	if _, err := c.Invoke(ctx, "m", nil, openwhisk.InvokeOptions{Blocking: true}); err != nil {
		fmt.Println("invoke:", err)
		os.Exit(1)
	}
	fmt.Println(p.Containers()[0].PID)
	select {}
}

// TestContainersDieWithThePlatform: also when it is killed.
func TestContainersDieWithThePlatform(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, t.TempDir())
	cmd.Env = append(os.Environ(), platformEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatalf("the platform said %q", line)
	}
	eventually(t, "end of the container", func() bool { s := procState(pid); return s == 0 || s == 'Z' })
}
