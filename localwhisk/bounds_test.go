package localwhisk_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

var listAll = openwhisk.ListOptions{}

// TestNames puts, gets, lists and deletes triggers of names that are valid by
// the platform's own expression, and is turned away with all others.
func TestNames(t *testing.T) {
	p, _ := start(t, nil)
	valid := regexp.MustCompile(`\A([\w]|[\w][\w@ .&-]{0,254}[\w@.&-])\z`)
	check := func(t interface{ Errorf(string, ...any) }, tb testing.TB, name string) {
		path := "triggers/" + url.PathEscape(name)
		a := call(tb, p, "PUT", path, "{}")
		switch {
		case !valid.MatchString(name):
			if a.status != 400 || !strings.Contains(a.body, "name") && !strings.Contains(a.body, "Name") {
				t.Errorf("%q: %d %s", name, a.status, a.body)
			}
			return
		case a.status != 200:
			t.Errorf("%q: %d %s", name, a.status, a.body)
			return
		}
		for _, method := range []string{"GET", "DELETE"} {
			if a := call(tb, p, method, path, ""); a.status != 200 || !strings.Contains(a.body, `"name":"`+name+`"`) {
				t.Errorf("%s %q: %d %s", method, name, a.status, a.body)
			}
		}
	}
	for _, name := range []string{"a", "_", "A b", "a@b.c", "a&b", strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("n", 257),
		"-a", ".a", "@a", "&a", " a", "a ", "a\x00b", "ä", "a#b", "a?b", "a%b", "a+b", "a\"b", "<a>", strings.Repeat("n", 5000)} {
		check(t, t, name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		check(rt, t, rapid.StringMatching(`[\w@ .&#%é-]{1,8}`).Draw(rt, "name"))
	})
}

// TestLimitsOfActions asks for each limit at its bounds and one beyond them.
func TestLimitsOfActions(t *testing.T) {
	l := localwhisk.DefaultLimits()
	p, _ := start(t, func(c *localwhisk.Config) { c.Limits = l })
	for _, b := range []struct {
		name, field, text string
		min, max          int
	}{
		{"timeout", "duration", " milliseconds", l.MinTimeout, l.MaxTimeout}, {"memory", "memory size", " MB", l.MinMemory, l.MaxMemory},
		{"logs", "log size", " MB", l.MinLogs, l.MaxLogs}, {"concurrency", "concurrency", "", 1, l.MaxConcurrency},
	} {
		ask := func(n int) (int, string) {
			a := call(t, p, "PUT", "actions/m?overwrite=true", fmt.Sprintf(`{"exec": {"kind": "go:1.26", "code": "x"}, "limits": {"%s": %d}}`, b.name, n))
			return a.status, a.body
		}
		for _, n := range []int{b.min, b.max} {
			if status, body := ask(n); status != 200 {
				t.Errorf("%s %d: %d %s", b.name, n, status, body)
			}
		}
		for n, how := range map[int]string{b.min - 1: "below", b.max + 1: "exceeds"} {
			limit := b.min
			if how == "exceeds" {
				limit = b.max
			}
			text := fmt.Sprintf("requirement failed: %s %d%s %s allowed threshold of %d%s", b.field, n, b.text, how, limit, b.text)
			if status, body := ask(n); status != 400 || !strings.Contains(body, text) {
				t.Errorf("%s %d: %d %s", b.name, n, status, body)
			}
		}
	}
}

// TestSizes sends bodies, parameters and code of the sizes that just pass and
// of one byte more.
func TestSizes(t *testing.T) {
	p, _ := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.DefaultLimits()
		c.Limits.PayloadBytes, c.Limits.ParameterBytes, c.Limits.CodeBytes = 3000, 2000, 1000
	})
	exec := func(code int) string {
		return `"exec": {"kind": "go:1.26", "code": "` + strings.Repeat("x", code) + `"}`
	}
	list := func(n int) string { return `[{"key": "k", "value": "` + strings.Repeat("v", n-3) + `"}]` }
	want(t, p, 200, "", "PUT", "actions/m?overwrite=true", "{"+exec(1000)+`, "parameters": `+list(2000)+`, "annotations": `+list(2000)+"}")
	want(t, p, 413, "exec larger than allowed: 1001 > 1000 bytes.", "PUT", "actions/m?overwrite=true", "{"+exec(1001)+"}")
	for _, entity := range []string{"actions/m", "triggers/t", "packages/p"} {
		for _, field := range []string{"parameters", "annotations"} {
			want(t, p, 413, field+" larger than allowed: 2001 > 2000 bytes.", "PUT", entity+"?overwrite=true", "{"+exec(1)+`, "`+field+`": `+list(2001)+"}")
		}
	}
	want(t, p, 200, "", "PUT", "triggers/t", `{"parameters": `+list(2000)+"}")
	body := func(n int) string { return `{"a":"` + strings.Repeat("b", n-8) + `"}` }
	for _, path := range []string{"actions/m", "triggers/t"} {
		want(t, p, 413, "Request larger than allowed: 3001 > 3000 bytes.", "POST", path, body(3001))
	}
	want(t, p, 202, "", "POST", "actions/m", body(3000))
	want(t, p, 204, "", "POST", "triggers/t", body(3000))
}

// TestBadEntities sends what has the form of JSON and not of an entity.
func TestBadEntities(t *testing.T) {
	p, _ := start(t, nil)
	for _, body := range []string{`{"version": "1"}`, `{"version": "0.0.0"}`, `{"version": "1.2.x"}`, `{"parameters": [{"key": "k"}]}`, `{"parameters": [{"key": "", "value": 1}]}`,
		`{"annotations": [{"value": 1}]}`, `{"parameters": {"k": 1}}`, `{"publish": "yes"}`, `[1]`, `"x"`, `{`, `{"version": 1}`} {
		for _, path := range []string{"triggers/t", "packages/p", "actions/a"} {
			want(t, p, 400, "The request content was malformed:", "PUT", path, body)
		}
	}
	want(t, p, 200, `[{"key":"k","value":2}]`, "PUT", "triggers/t", `{"version": "3.2.1", "parameters": [{"key": "k", "value": 1}, {"key": "k", "value": 2}]}`)
	want(t, p, 200, `"version":"3.2.2"`, "PUT", "triggers/t?overwrite=true", "")
}

// FuzzParameters sends anything as an entity and as a payload: the answer is
// never the platform's own failure, and what is stored can be read again.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{"", "{}", "[]", "null", `{"parameters": [{"key": "k", "value": {"a": [1e400]}}]}`, `{"parameters": null}`, `{"parameters": {}}`,
		`{"annotations": [{"key": "feed", "value": "a/b"}]}`, `{"version": "x"}`, `{"binding": {}}`, `{"binding": {"name": "../x"}}`, "{\"a\": \"\xff\"}", `{"version": "1.2.99999999999999999999"}`} {
		f.Add(s)
	}
	p, _ := start(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"triggers/t", "packages/p", "rules/r", "actions/a"} {
			a := call(t, p, "PUT", path+"?overwrite=true", body)
			if a.status >= 500 {
				t.Fatalf("PUT %s %q: %d %s", path, body, a.status, a.body)
			}
			if got := call(t, p, "GET", path, ""); a.status == 200 && (got.status != 200 || !strings.HasPrefix(got.body, "{")) {
				t.Fatalf("GET %s after %q: %d %s", path, body, got.status, got.body)
			}
			call(t, p, "DELETE", path, "")
		}
		for _, path := range []string{"triggers/none", "actions/none", "rules/none"} {
			if a := call(t, p, "POST", path, body); a.status >= 500 || a.status == 200 {
				t.Fatalf("POST %s %q: %d %s", path, body, a.status, a.body)
			}
		}
	})
}
