package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// languages are functions that pass an event on, an ordinary action each. The one in Python eats more
// memory than its container has when somebody puts a file there for it.
var languages = files{
	"pass_go.go": "package main\n\nfunc Main(in map[string]any) map[string]any { return in }\n",
	"pass_py.py": `import os

def main(event):
    try:
        os.remove("/tmp/once/eat")
    except OSError:
        return event
    return {"eaten": len(bytearray(b"x") * (1 << 30))}
`,
	"pass_js.js": "function main(event) { return event }\n",
	"Main.java":  "import com.google.gson.JsonObject;\n\npublic class Main {\n    public static JsonObject main(JsonObject event) { return event; }\n}\n",
}

// fourLanguages leads through each routing, and through a container of each language.
const fourLanguages = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: languages}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: go, function: {source: pass_go.go}}
    - {name: py, function: {source: pass_py.py}, replicas: {min: 1, max: 4}}
    - {name: js, function: {source: pass_js.js}, replicas: {min: 2}}
    - {name: java, function: {source: Main.java}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: go, routing: forward}
    - {from: go, to: py, routing: balance}
    - {from: py, to: js, routing: key, key: n}
    - {from: js, to: java, routing: broadcast}
    - {from: java, to: out}
`

// needDocker skips where no Docker answers, but fails in CI.
func needDocker(t testing.TB) {
	t.Helper()
	need(t, "docker", "Docker (Debian: docker.io)")
	need(t, "mmdebstrap", "mmdebstrap")
	out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	switch {
	case err == nil:
		images(t) // now, when nothing waits for them
	case os.Getenv("CI") != "":
		t.Fatalf("Docker does not answer: %s", out)
	default:
		t.Skipf("Docker does not answer; start its daemon: %s", out)
	}
}

// manifest is what weft images prints, asked once.
var manifest = sync.OnceValues(func() ([]byte, error) { return exec.Command(filepath.Join(bin, "weft"), "images").Output() })

// images builds Weft's images where they are missing, and names them by kind.
func images(t testing.TB) map[string]string {
	t.Helper()
	b, err := manifest()
	var m struct {
		Runtimes map[string][]struct {
			Kind  string
			Image struct{ Prefix, Name, Tag string }
		}
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatalf("build the images: %v", err)
	}
	out := map[string]string{}
	for _, family := range m.Runtimes {
		for _, r := range family {
			out[r.Kind] = r.Image.Prefix + "/" + r.Image.Name + ":" + r.Image.Tag
		}
	}
	return out
}

// docker runs a command of Docker.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// containerOf finds the container with a slot's address.
func containerOf(t testing.TB, addr string) string {
	t.Helper()
	ip, _, _ := strings.Cut(addr, ":")
	for _, id := range strings.Fields(docker(t, "ps", "-q", "--filter", "label=localwhisk.owner")) {
		out, err := exec.Command("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id).Output()
		if err == nil && strings.TrimSpace(string(out)) == ip { // one of another test may just have gone
			return id
		}
	}
	t.Fatalf("no container has the address %s", addr)
	return ""
}

// TestContainers scales, kills, freezes and starves workers that are Docker's containers, and kills the hook,
// while leases are renewed and events flow through all languages and routings: none is lost.
func TestContainers(t *testing.T) {
	needDocker(t)
	f := feed(t, fourLanguages, languages, "--containers", "docker", "--lease", "20s")
	f.settled()
	f.flows()

	f.must("scale", "languages", "py=4")
	f.settled()
	f.flows()

	docker(t, "kill", containerOf(t, slotOf(t, f.running(), "py[1]").Addr))
	f.explained("py[1]", "slot lost")
	f.settled()
	f.flows()

	frozen := containerOf(t, slotOf(t, f.running(), "js[0]").Addr)
	docker(t, "pause", frozen)
	f.explained("js[0]", "slot lost")
	_ = exec.Command("docker", "unpause", frozen).Run() // the platform may have removed it
	f.settled()
	f.flows()

	starved := containerOf(t, slotOf(t, f.running(), "py[2]").Addr)
	docker(t, "exec", starved, "sh", "-c", "mkdir /tmp/once && chmod 777 /tmp/once && touch /tmp/once/eat")
	f.explained("py[2]", "memory")
	f.settled()
	f.flows()

	kill(t, f.hookPID())
	f.explained("hook took over", "term 2")
	f.settled()
	f.flows()

	f.must("scale", "languages", "py=1")
	f.eventually("renewals after all that", func() bool {
		st, ok := f.status()
		return ok && st.Renewals > 10
	})
	f.settled()
	f.flows()
	t.Log(f.why())
	f.complete()
}

// settled waits for all slots to be ready: containers are started on a machine that has other things to do.
func (f *fed) settled() {
	f.t.Helper()
	end := time.Now().Add(5 * time.Minute)
	for {
		st, ok := f.status()
		if ok && st.Phase == control.Running && !slices.ContainsFunc(st.Slots, func(s control.SlotStatus) bool { return s.State != "ready" || s.PID == 0 }) {
			return
		}
		select {
		case <-f.command.done:
			f.t.Fatalf("weft has ended:\n%s", tail(f.stderr.String(), 4000))
		case <-time.After(200 * time.Millisecond):
		}
		if time.Now().After(end) {
			f.t.Fatalf("not all slots are ready: %+v", st.Slots)
		}
	}
}

// whoAmI is an action in each language that says which user it is, what its descriptors are, and where it
// can write.
var whoAmI = map[string]string{
	"go:1.26": `package main

import ("fmt"; "os"; "path/filepath")

func Main(map[string]any) map[string]any {
	fds := []string{}
	all, _ := filepath.Glob("/proc/self/fd/*")
	for _, f := range all { if to, err := os.Readlink(f); err == nil { fds = append(fds, filepath.Base(f)+" "+to) } }
	_, secret := os.ReadFile("/proc/1/environ")
	return map[string]any{"uid": os.Getuid(), "fds": fds, "tmp": fmt.Sprint(os.WriteFile("/tmp/x", nil, 0o600)), "here": fmt.Sprint(os.WriteFile("x", nil, 0o600)), "proxy": secret == nil}
}
`,
	"python:3": `import os, glob

def write(name):
    try:
        open(name, "w").close()
    except OSError as e:
        return str(e)
    return "<nil>"

def main(args):
    fds = []
    for f in glob.glob("/proc/self/fd/*"):
        try: fds.append(os.path.basename(f) + " " + os.readlink(f))
        except OSError: pass
    return {"uid": os.getuid(), "fds": fds, "tmp": write("/tmp/x"), "here": write("x"), "proxy": os.access("/proc/1/environ", os.R_OK) and bool(write("/bin/actionproxy") == "<nil>")}
`,
	"nodejs:20": `const fs = require('fs')
const write = name => { try { fs.writeFileSync(name, ''); return '<nil>' } catch (e) { return String(e) } }
function main () {
  const fds = fs.readdirSync('/proc/self/fd').map(f => { try { return f + ' ' + fs.readlinkSync('/proc/self/fd/' + f) } catch (e) { return f } })
  return { uid: process.getuid(), fds, tmp: write('/tmp/x'), here: write('x'), proxy: write('/bin/actionproxy') === '<nil>' }
}
`,
	"java:17": `import com.google.gson.*;
import java.io.*;
import java.nio.file.*;

public class Main {
    static String write(String name) {
        try { Files.write(Paths.get(name), new byte[0]); return "<nil>"; } catch (IOException e) { return e.toString(); }
    }
    public static JsonObject main(JsonObject in) throws IOException {
        JsonArray fds = new JsonArray();
        for (File f : new File("/proc/self/fd").listFiles()) {
            try { fds.add(f.getName() + " " + Files.readSymbolicLink(f.toPath())); } catch (IOException e) { }
        }
        JsonObject out = new JsonObject();
        out.addProperty("uid", (Integer) Files.getAttribute(Paths.get("/proc/self"), "unix:uid"));
        out.add("fds", fds);
        out.addProperty("tmp", write("/tmp/x"));
        out.addProperty("here", write("x"));
        out.addProperty("proxy", write("/bin/actionproxy").equals("<nil>"));
        return out;
    }
}
`,
}

// TestFunctionsInContainers: in each image a function is a user of its own, which can write where
// functions do but not over the proxy, and has no descriptor of the proxy's. The same image serves as the
// action's own (blackbox).
func TestFunctionsInContainers(t *testing.T) {
	needDocker(t)
	up := weft(t, "up", "--containers", "docker", "--listen", "127.0.0.1:0", "--auth", "uuid:key")
	up.eventually("the platform", func() bool { return strings.Contains(up.stdout.String(), "WEFT_HOOK=") })
	_, host, _ := strings.Cut(up.stdout.String(), "APIHOST=")
	host, _, _ = strings.Cut(host, "\n")
	r := rest{t, host, "uuid:key"}
	for kind, code := range whoAmI {
		for _, exec := range []object{{"kind": kind + "-weft", "code": code}, {"kind": "blackbox", "image": images(t)[kind+"-weft"], "code": code}} {
			var out struct {
				UID       int
				FDs       []string
				Tmp, Here string
				Proxy     bool
			}
			r.create("who", object{"exec": exec, "limits": object{"timeout": 60000, "memory": 256}})
			status, text := r.invoke("who", nil)
			if err := json.Unmarshal([]byte(text), &out); status != 200 || err != nil {
				t.Errorf("%v: %d %s", exec["kind"], status, text)
				continue
			}
			if out.UID != 10001 || out.Tmp != "<nil>" || out.Here != "<nil>" || out.Proxy {
				t.Errorf("%v: %s", kind, text)
			}
			for _, fd := range out.FDs {
				if strings.Contains(fd, "socket:") || strings.Contains(fd, "hook") {
					t.Errorf("%v has the descriptor %s", kind, fd)
				}
			}
		}
	}
}
