package actionproxy_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
)

// echo is a function that costs as little as a function can: the test binary with FUNCTION=echo.
func echo() {
	results := os.NewFile(3, "results")
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	line := []byte("{\"ok\":true}\n")
	for err := error(nil); err == nil; line, err = in.ReadBytes('\n') {
		results.Write(line)
	}
}

// bare is a net/http handler in front of the same function that does nothing but hand lines over: what
// any proxy costs.
func bare(b *testing.B) *proxy {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"FUNCTION=echo"}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w.Close()
	results := bufio.NewReaderSize(r, 1<<16)
	if _, err := results.ReadSlice('\n'); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in.Write(append(body, '\n'))
		line, _ := results.ReadBytes('\n')
		w.Header().Set("Content-Length", strconv.Itoa(len(line)))
		w.Write(line)
	}))
	b.Cleanup(func() {
		server.Close()
		in.Close()
		cmd.Wait()
		r.Close()
	})
	return &proxy{url: server.URL, client: server.Client()}
}

// BenchmarkRun is a /run there and back, next to the bare one's in turn. "ratio" is between their
// medians, "ns/op" is of both together.
func BenchmarkRun(b *testing.B) {
	for name, size := range map[string]int{"64B": 64, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			ours := startProxy(b, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
			if status, body := ours.init(b, []byte("#!"+os.Args[0]+"\n"), "", map[string]any{"FUNCTION": "echo"}); status != 200 {
				b.Fatal(body)
			}
			sides := []*proxy{ours, bare(b)}
			var took [2][]time.Duration
			body := []byte(`{"value":{"x":"` + strings.Repeat("y", size-len(`{"value":{"x":""}}`)) + `"}}`)
			b.ReportAllocs()
			b.SetBytes(int64(2 * size))
			for b.Loop() {
				for i, p := range sides {
					begin := time.Now()
					if status, _, answer := p.call(b, http.MethodPost, "/run", body); status != 200 || len(answer) != size+1 {
						b.Fatalf("%d, %d bytes", status, len(answer))
					}
					took[i] = append(took[i], time.Since(begin))
				}
			}
			b.ReportMetric(float64(median(took[0]))/float64(median(took[1])), "ratio")
			b.ReportMetric(float64(median(took[0]).Microseconds()), "µs/run")
			b.ReportMetric(float64(median(took[1]).Microseconds()), "µs/bare")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
