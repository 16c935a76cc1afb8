package localwhisk_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the action container: started with the address in
// the environment it serves /init and /run and behaves as parameter "mode"
// says. That makes each container a real process of its own.
const containerEnv = "LOCALWHISK_TEST_CONTAINER"

func TestMain(m *testing.M) {
	if address := os.Getenv(containerEnv); address != "" {
		serveContainer(os.Args[1])
		return
	}
	if os.Getenv(platformEnv) != "" {
		servePlatform(os.Args[1])
	}
	code := m.Run()
	if left := goroutinesLeft(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines left by closed platforms:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// goroutinesLeft is the stacks of the package's own goroutines and those of
// the broker, after giving them time to end.
func goroutinesLeft() string {
	left := ""
	for range 200 {
		buf := make([]byte, 4<<20)
		left = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "weft/localwhisk.") || strings.Contains(g, "kfake") || strings.Contains(g, "IBM/sarama") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

const sentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

func serveContainer(address string) {
	var mu sync.Mutex
	env := map[string]string{}
	served, mode := 0, ""
	answer := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		w.WriteHeader(status)
		io.WriteString(w, body+"\n")
	}
	http.HandleFunc("/init", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Value struct {
				Code string            `json:"code"`
				Env  map[string]string `json:"env"`
			} `json:"value"`
		}
		json.NewDecoder(r.Body).Decode(&in)
		switch in.Value.Code {
		case "failinit":
			answer(w, 502, `{"error":"cannot start"}`)
			return
		case "slowinit":
			time.Sleep(time.Minute)
		}
		if code, _ := base64.StdEncoding.DecodeString(in.Value.Code); string(code) == "hello!" {
			mode = "hello"
		}
		env = in.Value.Env
		answer(w, 200, `{"ok":true}`)
	})
	http.HandleFunc("/run", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		served++
		raw, _ := io.ReadAll(r.Body)
		var in struct {
			Value map[string]any `json:"value"`
		}
		json.Unmarshal(raw, &in)
		if in.Value["mode"] == nil && mode != "" {
			in.Value["mode"] = mode
		}
		status, body := behave(w, in.Value, env, raw, served)
		if body == "" {
			return
		}
		if in.Value["mode"] != "nosentinel" {
			fmt.Fprintln(os.Stdout, sentinel)
			fmt.Fprintln(os.Stderr, sentinel)
		}
		answer(w, status, body)
	})
	l, err := net.Listen("tcp", net.JoinHostPort(address, "8080"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.Serve(l, nil)
}

var ballast [][]byte

// stockEnv is what a function sees below the stock proxy: the container's own
// variables of the platform, those of /init, and the proxy's.
func stockEnv(env map[string]string) string {
	all := map[string]string{"__OW_PROXY_VERSION": "1.17.1", "__OW_WAIT_FOR_ACK": "1"}
	for _, kv := range os.Environ() {
		if k, v, _ := strings.Cut(kv, "="); strings.HasPrefix(k, "__OW_") {
			all[k] = v
		}
	}
	for k, v := range env {
		all[k] = v
	}
	b, _ := json.Marshal(map[string]any{"env": all})
	return string(b)
}

func behave(w http.ResponseWriter, v map[string]any, env map[string]string, raw []byte, served int) (int, string) {
	switch v["mode"] {
	case "error":
		return 200, `{"error":"it went wrong"}`
	case "errorobj":
		return 200, `{"error":{"code":7,"text":"structured"}}`
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Duration(v["ms"].(float64)) * time.Millisecond)
		return 200, `{"slept":true}`
	case "slow":
		time.Sleep(time.Minute)
	case "notjson", "scalar":
		return 502, `{"error":"The action did not return a dictionary or array."}`
	case "garbage":
		return 200, `hello`
	case "answer":
		return 200, v["answer"].(string)
	case "chunked":
		w.(http.Flusher).Flush()
		io.WriteString(w, "{}")
		return 0, ""
	case "array":
		return 200, `[1,{"a":2}]`
	case "big":
		return 200, `{"x":"` + strings.Repeat("y", 2<<20) + `"}`
	case "print":
		for i := 0; i < 3; i++ {
			fmt.Println("line", i)
			fmt.Fprintln(os.Stderr, "err line", i)
		}
		return 200, `{"printed":3}`
	case "flood":
		wr := bufio.NewWriter(os.Stdout)
		for range 2 << 10 {
			fmt.Fprintln(wr, strings.Repeat("z", 1<<10))
		}
		wr.Flush()
		return 200, `{}`
	case "memory":
		for range 64 {
			b := make([]byte, 8<<20)
			for i := range b {
				b[i] = 1
			}
			ballast = append(ballast, b)
			time.Sleep(10 * time.Millisecond)
		}
		return 200, `{"fits":true}`
	case "child":
		cmd := exec.Command("/bin/sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a proxy may do with its function
		if err := cmd.Start(); err != nil {
			return 500, `{"error":"no child"}`
		}
		return 200, fmt.Sprintf(`{"pid":%d,"child":%d}`, identity(), cmd.Process.Pid)
	case "env":
		if os.Getenv(containerEnv) == "stock" {
			return 200, stockEnv(env)
		}
		b, _ := json.Marshal(map[string]any{"env": env, "process": os.Environ(), "run": json.RawMessage(raw)})
		return 200, string(b)
	case "who":
		time.Sleep(time.Duration(number(v["ms"])) * time.Millisecond)
		return 200, fmt.Sprintf(`{"pid":%d,"served":%d}`, identity(), served)
	case "hello":
		name, _ := v["name"].(string)
		fmt.Println("hello log line for", name)
		b, _ := json.Marshal(map[string]any{"greeting": "Hello, " + name + "!", "name": name, "hops": number(v["hops"]) + 1})
		return 200, string(b)
	case "conduct":
		return 200, conduct(v)
	}
	b, _ := json.Marshal(map[string]any{"got": v})
	return 200, string(b)
}

func conduct(v map[string]any) string {
	steps := 2.0
	if s, ok := v["steps"].(float64); ok {
		steps = s
	}
	step := number(v["$step"])
	if step >= steps {
		b, _ := json.Marshal(map[string]any{"params": map[string]any{"seen": v}})
		return string(b)
	}
	state := map[string]any{"$step": step + 1, "mode": "conduct", "component": v["component"], "cmode": v["cmode"]}
	if v["steps"] != nil {
		state["steps"] = steps
	}
	b, _ := json.Marshal(map[string]any{"action": v["component"], "params": map[string]any{"mode": v["cmode"]}, "state": state})
	return string(b)
}

// identity is the process's id, or, where that is 1 in every container, a number made of the container's.
func identity() int {
	if pid := os.Getpid(); pid != 1 {
		return pid
	}
	name, _ := os.Hostname()
	n, _ := strconv.ParseInt(name[:min(len(name), 8)], 16, 64)
	return int(n)
}

func number(v any) float64 {
	f, _ := v.(float64)
	return f
}
