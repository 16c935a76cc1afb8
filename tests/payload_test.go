package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// large sends what grow makes over shared memory to a function in Python, and over QUIC to one in Go.
const large = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: p}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: grow, function: {source: grow.go, memory: 512}}
    - {name: check, function: {source: check.py, memory: 512}}
    - {name: sum, function: {source: sum.go, memory: 512}}
    - {name: out, sink: {stdout: {}}}
    - {name: failed, sink: {file: failed.ndjson}}
  edges:
    - {from: in, to: grow}
    - {from: grow, to: check, transport: shm}
    - {from: grow, to: sum, transport: quic}
    - {from: check, to: out}
    - {from: sum, to: out}
    - {from: grow, to: failed, on: error, maxPayload: 64Ki}
`

const growGo = `package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"runtime/debug"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Large struct {
	Bytes int             ` + "`json:\"bytes\"`" + `
	Sum   string          ` + "`json:\"sum\"`" + `
	Data  json.RawMessage ` + "`json:\"data\"`" + `
}

func main() {
	debug.SetGCPercent(20) // in a container of 512 MB
	weft.Map(func(_ context.Context, in Large) (Large, error) {
		in.Sum, in.Data = hex.EncodeToString(make([]byte, sha256.Size)), json.RawMessage("0")
		rest, err := json.Marshal(in)
		data := make([]byte, in.Bytes-len(rest)+1)
		for i := range data {
			data[i] = 'a' + byte(i*i>>10)%26
		}
		data[0], data[len(data)-1] = '"', '"'
		sum := sha256.Sum256(data[1 : len(data)-1])
		in.Sum, in.Data = hex.EncodeToString(sum[:]), data
		return in, err
	})
}
`

const checkPython = `
import hashlib

def main(e):
    if hashlib.sha256(e["data"].encode()).hexdigest() != e["sum"]:
        raise ValueError("other bytes than were sent")
    if e["bytes"] > 20 << 20:
        e["data"] = ""
    return e
`

const sumGo = `package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"runtime/debug"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Large struct {
	Bytes int    ` + "`json:\"bytes\"`" + `
	Sum   string ` + "`json:\"sum\"`" + `
	Data  string ` + "`json:\"data\"`" + `
}

func main() {
	debug.SetGCPercent(20) // in a container of 512 MB
	weft.Map(func(_ context.Context, in Large) (Large, error) {
		sum := sha256.Sum256([]byte(in.Data))
		if hex.EncodeToString(sum[:]) != in.Sum {
			return in, errors.New("other bytes than were sent")
		}
		if in.Bytes > 20<<20 {
			in.Data = ""
		}
		return in, nil
	})
}
`

// TestLargeEvents sends events from a hundred bytes to 64 MiB on edges that say nothing of sizes, and some of
// 20 MiB on to the sink. One that is larger by a byte is found on the error edge, with what was wrong.
func TestLargeEvents(t *testing.T) {
	need(t, "python3", "Python 3")
	const most = 64 << 20
	sizes := []int{120, most, 1 << 20, 20 << 20, most + 1, 121}
	var in strings.Builder
	for _, n := range sizes {
		fmt.Fprintf(&in, "{\"bytes\":%d}\n", n)
	}
	f := files{"p.yaml": large, "grow.go": growGo, "check.py": checkPython, "sum.go": sumGo, "-": in.String()}
	c := runs(t, f)
	if code := c.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	type event struct {
		Bytes int
		Data  string
	}
	got := ndjson[event](t, c.stdout.String())
	slices.SortFunc(got, func(a, b event) int { return a.Bytes - b.Bytes })
	want := []int{120, 120, 121, 121, 1 << 20, 1 << 20, 20 << 20, 20 << 20, most, most} // by two ways
	if len(got) != len(want) {
		t.Fatalf("%d events came out, want %d", len(got), len(want))
	}
	for i, n := range want {
		if got[i].Bytes != n || (n == most) != (len(got[i].Data) < n-200) {
			t.Errorf("event %d has %d bytes, %d of data; want %d", i, got[i].Bytes, len(got[i].Data), n)
		}
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "failed.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	failed := ndjson[letter](t, string(text))
	if len(failed) != 1 || failed[0].Bytes != most+1 || failed[0].Stage != "grow" || !strings.Contains(string(failed[0].Error), "67108865 bytes, at most 67108864") {
		t.Errorf("on the error edge: %.1000v", failed)
	}
}
