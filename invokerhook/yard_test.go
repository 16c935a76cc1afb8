package invokerhook_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/invokerhook/attest"
)

// dockerAt is the daemon that the docker command talks to.
var dockerAt = cmp.Or(os.Getenv("DOCKER_HOST"), attest.DefaultDocker)

// yard is where a test's containers stand. They have OpenWhisk's arguments and names, and an image with two
// static programs: /proxy, the real one, and /other, this test's own, which does what driver says.
type yard struct {
	t     *testing.T
	tag   string
	image string
	mu    sync.Mutex
	n     int
}

// built is the folder of the programs, which TestMain removes; "" when no test wanted them.
var built string

// programs are built once, and then in the image.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "weft-yard-")
	if err != nil {
		return "", err
	}
	built = dir
	for name, args := range map[string][]string{
		"proxy": {"build", "-o", filepath.Join(dir, "proxy"), "../cmd/actionproxy"},
		"other": {"test", "-c", "-o", filepath.Join(dir, "other"), "."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w: %s", name, err, out)
		}
	}
	return dir, nil
})

func newYard(t *testing.T) *yard {
	t.Helper()
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("Docker is missing: install docker.io and start dockerd: %v: %s", err, out)
		}
		t.Skipf("Docker is missing: install docker.io and start dockerd: %v: %s", err, out)
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{t: t, tag: fmt.Sprintf("wskattest%dx%d", os.Getpid(), time.Now().UnixNano()%1e9)}
	y.image = y.tag + "-image"
	cmd := exec.Command("docker", "import", "-c", "WORKDIR /action", "-", y.image)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = pack(in, dir)
	_ = in.Close()
	if werr := cmd.Wait(); err != nil || werr != nil {
		t.Fatalf("import the image: %v, %v: %s", err, werr, out.String())
	}
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", y.image).Run() })
	return y
}

// pack writes the image: the programs and the folders that they want.
func pack(w io.Writer, dir string) error {
	tw := tar.NewWriter(w)
	for _, d := range []string{"tmp/", "action/", "run/weft/", "etc/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o777}); err != nil {
			return err
		}
	}
	for _, name := range []string{"proxy", "other"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))}); err != nil {
			return err
		}
		if _, err := tw.Write(b); err != nil {
			return err
		}
	}
	return tw.Close()
}

// crate is one container.
type crate struct {
	t        *testing.T
	name, ip string
	lease    firing // that was run in it
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Scanner
}

// docker runs the CLI and gives what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// openwhisk are the arguments an invoker gives, all but name and network.
var openwhisk = []string{"--cpu-shares", "128", "--memory", "256m", "--memory-swap", "256m",
	"--cap-drop", "NET_RAW", "--cap-drop", "NET_ADMIN", "--ulimit", "nofile=1024:1024", "--pids-limit", "1024"}

// gateway is this host's address in the containers' network.
func (y *yard) gateway() string {
	y.t.Helper()
	return docker(y.t, "run", "--rm", "-e", "WEFT_TEST_OTHER=gateway", y.image, "/other")
}

// name is as an invoker gives it: of namespace and action, or prewarm_KIND.
func (y *yard) name(rest string) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.n++
	return fmt.Sprintf("%s_%d_%s", y.tag, y.n, rest)
}

// mount gives the folder of a hook's Unix socket, which has nothing else in it, to a container: the socket
// itself would be that of a hook which has ended as soon as there is another.
func mount(addr, at string) []string {
	return []string{"-v", filepath.Dir(strings.TrimPrefix(addr, "unix:")) + ":" + filepath.Dir(at) + ":ro"}
}

const hookIn = "/run/weft/hook.sock" // in containers

// proxy starts a container with the real proxy.
func (y *yard) proxy(rest, hook string, extra ...string) *crate {
	y.t.Helper()
	c := &crate{t: y.t, name: y.name(rest)}
	at := hook
	if strings.HasPrefix(hook, "unix:") {
		extra = append(extra, mount(hook, hookIn)...)
		at = "unix:" + hookIn
	}
	args := append([]string{"run", "-d", "--name", c.name, "-e", "WEFT_HOOK=" + at}, openwhisk...)
	docker(y.t, append(append(args, extra...), y.image, "/proxy")...)
	y.t.Cleanup(c.remove)
	c.address()
	return c
}

// other starts a container that does what do tells it.
func (y *yard) other(rest string, extra ...string) *crate {
	y.t.Helper()
	c := &crate{t: y.t, name: y.name(rest)}
	args := append([]string{"run", "-i", "--name", c.name, "-e", "WEFT_TEST_OTHER=1"}, openwhisk...)
	c.begin(append(append(args, extra...), y.image, "/other"))
	y.t.Cleanup(c.remove)
	c.do(job{Do: "nothing"})
	c.address()
	return c
}

// inside is /other in a container that is there, as another user.
func (c *crate) inside(user string) *crate {
	c.t.Helper()
	in := &crate{t: c.t, name: c.name, ip: c.ip}
	in.begin([]string{"exec", "-i", "-u", user, "-e", "WEFT_TEST_OTHER=1", c.name, "/other"})
	c.t.Cleanup(func() { _ = in.in.Close(); _ = in.cmd.Wait() })
	return in
}

func (c *crate) begin(args []string) {
	c.t.Helper()
	c.cmd = exec.Command("docker", args...)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	c.out.Buffer(nil, 1<<20)
}

func (c *crate) address() {
	c.t.Helper()
	c.ip = docker(c.t, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", c.name)
}

func (c *crate) remove() {
	_ = exec.Command("docker", "rm", "-f", c.name).Run()
	if c.cmd != nil {
		_ = c.in.Close()
		_ = c.cmd.Wait()
	}
}

// do has /other do a job.
func (c *crate) do(j job) outcome {
	c.t.Helper()
	if err := json.NewEncoder(c.in).Encode(j); err != nil {
		c.t.Fatalf("%s, %s: %v", c.name, j.Do, err)
	}
	if !c.out.Scan() {
		c.t.Fatalf("%s, %s: no answer: %v", c.name, j.Do, c.out.Err())
	}
	var o outcome
	if err := json.Unmarshal(c.out.Bytes(), &o); err != nil {
		c.t.Fatalf("%s, %s: %v: %.200s", c.name, j.Do, err, c.out.Bytes())
	}
	return o
}

// init posts /init, as the invoker does, until the proxy listens.
func (c *crate) init(code string) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, body, err := c.post("/init", map[string]any{"value": map[string]any{"name": "x", "main": "main", "code": code}})
		if err == nil && status == http.StatusOK {
			return
		}
		if err == nil || time.Now().After(end) {
			c.t.Fatalf("%s: /init: %d, %s, %v", c.name, status, body, err)
		}
	}
}

// listens says whether the proxy answers.
func (c *crate) listens() bool {
	conn, err := net.Dial("tcp", net.JoinHostPort(c.ip, "8080"))
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not come to it")
		}
	}
}

func (c *crate) post(path string, body any) (int, string, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.Post("http://"+c.ip+":8080"+path, "application/json", bytes.NewReader(b))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// run posts the /run of a lease, whose answer comes when the hook wants it.
func (c *crate) run(f firing) {
	c.lease = f
	ns, _, _ := strings.Cut(strings.TrimPrefix(f.action, "/"), "/")
	go c.post("/run", map[string]any{"value": map[string]any{control.Reserved: f.token}, "namespace": ns, "action_name": f.action,
		"action_version": "0.0.1", "activation_id": f.activation, "deadline": fmt.Sprint(time.Now().Add(10 * time.Minute).UnixMilli())})
}

// withDocker is a hook as it stands beside an invoker: workers are containers.
func withDocker(c *invokerhook.Config) {
	c.Processes, c.Docker = false, dockerAt
}

// begin starts a pipeline of two stages through a container of the namespace's.
func (y *yard) begin(s *site, namespace, key, name string, leaseMS int64) {
	y.t.Helper()
	c := y.other(namespace+"_conductor", mount(s.addr, hookIn)...)
	pl := twoStages(leaseMS)
	pl.Name = name
	step := control.Step{Step: "start", Namespace: namespace, APIKey: key, Pipeline: &pl, Name: name}
	if o := c.do(job{Do: "step", Know: knowledge{Hook: "unix:" + hookIn, Worker: "conductor", Step: step}}); o.Err != "" {
		y.t.Fatal(o.Err)
	}
	c.remove()
}

// staffed starts the pipeline p and gives its leases to real proxies in containers, which become ready.
func (y *yard) staffed(s *site, leaseMS int64, hook string) map[string]*crate {
	y.t.Helper()
	s.attachAs("p", false) // or its source would not wait for long
	y.begin(s, "guest", guestKey, "p", leaseMS)
	out := map[string]*crate{}
	for range 2 {
		f := s.next()
		stage := f.token.Stage
		c := y.proxy("guest_"+stage, hook)
		c.init("weft:" + map[string]string{"in": "source", "out": "sink"}[stage])
		c.run(f)
		out[stage] = c
	}
	s.until("running", func(st control.PipelineStatus) bool { return st.Phase == control.Running })
	return out
}
