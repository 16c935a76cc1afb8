package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkIngress measures a blocking invocation: of a pipeline, by its conductor action and by its ingress
// action, and of a sequence of the same functions, one after the other in the same run, all warm. One
// action alone is what an activation costs here.
func BenchmarkIngress(b *testing.B) {
	need(b, "python3", "Python 3")
	_, r, _ := up(b)
	const code = "def main(args):\n    return args\n"
	action := object{"exec": object{"kind": "python:3", "code": code}}
	for _, n := range []int{1, 3, 8} {
		b.Run(fmt.Sprintf("%d-functions", n), func(b *testing.B) {
			r := rest{b, r.host, r.key}
			dir := b.TempDir()
			write(b, dir, "f.py", code)
			name := fmt.Sprint("chain", n)
			write(b, dir, "p.yaml", inPlace(chainSpec(n)))
			deployed(b, r, dir)
			if a := r.conduct(name, "start"); !a.Response.Success {
				b.Fatalf("start: %s", a.Response.Result)
			}
			var components []string
			for i := range n {
				components = append(components, fmt.Sprintf("/_/link%d", i))
				r.create(fmt.Sprintf("link%d", i), action)
			}
			r.create("sequence", object{"exec": object{"kind": "sequence", "components": components}})
			took := map[string][]time.Duration{}
			what := []string{name, name + ".stages/ingress", "sequence", "link0"}
			for _, w := range what {
				for range 20 {
					r.invoke(w, object{"n": 1})
				}
			}
			b.ResetTimer()
			for range b.N {
				for _, w := range what {
					began := time.Now()
					if status, result := r.invoke(w, object{"n": 1}); status != http.StatusOK {
						b.Fatalf("%s: %d %s", w, status, result)
					}
					took[w] = append(took[w], time.Since(began))
				}
			}
			b.StopTimer()
			for i, label := range []string{"pipeline", "ingress", "sequence", "action"} {
				all := took[what[i]]
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50/"+label)
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99/"+label)
			}
			b.ReportMetric(0, "ns/op")
			r.conduct(name, "stop")
		})
	}
}

func (r rest) create(name string, action object) {
	r.t.Helper()
	if status := r.call("PUT", "actions/"+name+"?overwrite=true", action, nil); status != http.StatusOK {
		r.t.Fatalf("create %s: status %d", name, status)
	}
}

// inPlace makes a spec one that takes invocations.
func inPlace(spec string) string {
	return strings.NewReplacer("generator: {rate: 1}", "ingress: {}", "stdout: {}", "reply: {}", "spec:\n", "spec:\n  guarantee: best-effort\n").Replace(spec)
}
