package localwhisk_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

func putWeb(t *testing.T, c *openwhisk.Client, name string, more ...openwhisk.KeyValue) {
	put(t, c, name, func(a *openwhisk.Action) {
		a.Annotations = openwhisk.KeyValues{openwhisk.KV("web-export", true)}.With(more...)
	})
}

// TestWebResults is the table of what a web action may answer and what becomes
// of it under each extension.
func TestWebResults(t *testing.T) {
	p, c := start(t, nil)
	putWeb(t, c, "w")
	const mismatch = "Response type in header did not match generated content type."
	for _, o := range []struct {
		name, extension, answer string // the action's
		status                  int
		contentType, body       string
	}{
		{"html by default", "http", `{"body": "<b>hi</b>"}`, 200, "text/html; charset=UTF-8", "<b>hi</b>"},
		{"no extension is http", "", `{"body": "x", "statusCode": 201}`, 201, "text/html; charset=UTF-8", "x"},
		{"status as text", "http", `{"body": "x", "statusCode": "404"}`, 404, "text/html; charset=UTF-8", "x"},
		{"json body", "http", `{"body": {"a": [1, {}]}}`, 200, "application/json", "{\n  \"a\": [1, {\n\n  }]\n}"},
		{"json of a family", "http", `{"headers": {"Content-Type": "application/vnd.x+json"}, "body": [1, 2]}`, 200, "application/vnd.x+json", "[1, 2]"},
		{"empty body", "http", `{"body": "", "headers": {"X-A": 1}}`, 204, "", ""},
		{"null body", "http", `{"body": null, "statusCode": 302, "headers": {"Location": "/x"}}`, 302, "", ""},
		{"binary body", "http", `{"headers": {"content-type": "image/png"}, "body": "aGk="}`, 200, "image/png", "hi"},
		{"binary body that is not base64", "http", `{"headers": {"content-type": "image/png"}, "body": "h!"}`, 400, "application/json", mismatch},
		{"base64 of json", "http", `{"headers": {"content-type": "application/json"}, "body": "eyJhIjoxfQ=="}`, 200, "application/json", `{"a":1}`},
		{"json as text", "http", `{"headers": {"content-type": "application/json"}, "body": "{}"}`, 200, "application/json", `{}`},
		{"object of no json type", "http", `{"headers": {"content-type": "text/plain"}, "body": {}}`, 400, "application/json", mismatch},
		{"unknown type", "http", `{"headers": {"content-type": "xyz"}, "body": "a"}`, 400, "application/json", "Response did not specify a known content-type."},
		{"bad status", "http", `{"body": "a", "statusCode": "abc"}`, 400, "application/json", "Response is not valid 'message/http'."},
		{"status out of range", "http", `{"body": "a", "statusCode": 12345}`, 400, "application/json", "Response is not valid 'message/http'."},
		{"bad header", "http", `{"body": "a", "headers": {"X": {}}}`, 400, "application/json", "Response is not valid 'message/http'."},
		{"json", "json", `{"a": 1}`, 200, "application/json", "{\n  \"a\": 1\n}"},
		{"html", "html", `{"html": "<p>"}`, 200, "text/html; charset=UTF-8", "<p>"},
		{"body before html", "html", `{"html": "no", "body": "yes"}`, 200, "text/html; charset=UTF-8", "yes"},
		{"no html", "html", `{"a": 1}`, 400, "application/json", "Response is not valid 'text/html'."},
		{"svg", "svg", `{"svg": "<svg/>"}`, 200, "image/svg+xml", "<svg/>"},
		{"no svg", "svg", `{"svg": 1}`, 400, "application/json", "Response is not valid 'image/svg+xml'."},
		{"text", "text", `{"text": "plain"}`, 200, "text/plain; charset=UTF-8", "plain"},
		{"number as text", "text", `{"text": 1.5}`, 200, "text/plain; charset=UTF-8", "1.5"},
		{"no text", "text", `{"a": 1}`, 404, "application/json", "Response does not include requested property."},
		{"an error is what is answered", "text", `{"error": "went wrong"}`, 200, "text/plain; charset=UTF-8", "went wrong"},
		{"an error with a status", "http", `{"error": {"statusCode": 418, "body": "teapot"}}`, 418, "text/html; charset=UTF-8", "teapot"},
		{"an error that is no response", "http", `{"error": "text"}`, 400, "application/json", "Response is not valid 'message/http'."},
		{"an error that is no json", "json", `{"error": "text"}`, 400, "application/json", "Response is not valid 'application/json'."},
		{"a broken action", "json", `nonsense`, 400, "application/json", "There was an error processing your request."},
	} {
		t.Run(o.name, func(t *testing.T) {
			path := "/api/v1/web/guest/default/w"
			if o.extension != "" {
				path += "." + o.extension
			}
			in, _ := json.Marshal(map[string]string{"mode": "answer", "answer": o.answer})
			a := call(t, p, "POST", path, string(in), "Content-Type", "application/json")
			if a.status != o.status || a.header.Get("Content-Type") != o.contentType || !strings.Contains(a.body, o.body) || o.body == "" && a.body != "" {
				t.Errorf("%d %q %s", a.status, a.header.Get("Content-Type"), a.body)
			}
			if a.header.Get("Access-Control-Allow-Origin") != "*" || len(a.header.Get("X-Openwhisk-Activation-Id")) != 32 {
				t.Errorf("headers %v", a.header)
			}
		})
	}
}

// TestWebParameters checks what of a request an action sees.
func TestWebParameters(t *testing.T) {
	p, c := start(t, nil)
	putWeb(t, c, "w")
	putWeb(t, c, "raw", openwhisk.KV("raw-http", true))
	const form, text, binary = "application/x-www-form-urlencoded", "text/plain; charset=utf-8", "application/octet-stream"
	for _, o := range []struct {
		name, path, contentType, body string
		want                          map[string]any // with the method, headers and path aside
	}{
		{"query and path", "w.json/a/b?x=1&y=%20z", "", "", map[string]any{"x": "1", "y": " z", "__ow_path": "/a/b"}},
		{"body over query", "w.json?x=1", "application/json", `{"x": 2}`, map[string]any{"x": 2.0, "__ow_path": ""}},
		{"form", "w.json", form, "a=1&b=c+d", map[string]any{"a": "1", "b": "c d", "__ow_path": ""}},
		{"array", "w.json", "application/json", `[1]`, map[string]any{"__ow_body": []any{1.0}, "__ow_path": ""}},
		{"text", "w.json", text, "hey", map[string]any{"__ow_body": "hey", "__ow_path": ""}},
		{"binary", "w.json", binary, "hi", map[string]any{"__ow_body": "aGk=", "__ow_path": ""}},
		{"raw json", "raw.json?a=b&c", "application/json", `{"x": 1}`, map[string]any{"__ow_body": "eyJ4IjogMX0=", "__ow_query": "a=b&c", "__ow_path": ""}},
		{"raw form", "raw.json", form, "a=1", map[string]any{"__ow_body": "a=1", "__ow_query": "", "__ow_path": ""}},
		{"raw nothing", "raw.json", "", "", map[string]any{"__ow_body": "", "__ow_query": "", "__ow_path": ""}},
	} {
		t.Run(o.name, func(t *testing.T) {
			a := call(t, p, "POST", "/api/v1/web/guest/default/"+o.path, o.body, "Content-Type", o.contentType, "X-Own", "me")
			var got struct{ Got map[string]any }
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if h, _ := got.Got["__ow_headers"].(map[string]any); h["x-own"] != "me" || h["host"] == nil || got.Got["__ow_method"] != "post" {
				t.Errorf("context %v", got.Got)
			}
			delete(got.Got, "__ow_headers")
			delete(got.Got, "__ow_method")
			want, _ := json.Marshal(o.want)
			if have, _ := json.Marshal(got.Got); string(have) != string(want) {
				t.Errorf("got %s, want %s", have, want)
			}
		})
	}
	a := call(t, p, "GET", "/api/v1/web/guest/default/w.json", "", "Authorization", key(p))
	if !strings.Contains(a.body, `"__ow_user": "guest"`) {
		t.Errorf("with a key: %s", a.body)
	}
	for _, query := range []string{"__ow_user=x", "__ow_body=x"} {
		if a := call(t, p, "GET", "/api/v1/web/guest/default/w.json?"+query, ""); a.status != 400 || !strings.Contains(a.body, "not allowed") {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	if a := call(t, p, "POST", "/api/v1/web/guest/default/w.json", "{", "Content-Type", "application/json"); a.status != 400 || !strings.Contains(a.body, "malformed") {
		t.Errorf("bad JSON: %d %s", a.status, a.body)
	}
}

// TestWebAccess checks who gets at a web action and what browsers are told.
func TestWebAccess(t *testing.T) {
	p, c := start(t, nil)
	const base = "/api/v1/web/guest/default/"
	put(t, c, "private", nil)
	put(t, c, "no", func(a *openwhisk.Action) { a.Annotations = openwhisk.KeyValues{openwhisk.KV("web-export", false)} })
	putWeb(t, c, "open")
	putWeb(t, c, "secret", openwhisk.KV("require-whisk-auth", "s3cret"))
	putWeb(t, c, "number", openwhisk.KV("require-whisk-auth", 42))
	putWeb(t, c, "user", openwhisk.KV("require-whisk-auth", true))
	putWeb(t, c, "off", openwhisk.KV("require-whisk-auth", false))
	putWeb(t, c, "own", openwhisk.KV("web-custom-options", true), openwhisk.KV("require-whisk-auth", true))
	if _, err := c.PutPackage(t.Context(), "pk", openwhisk.Package{}, false); err != nil {
		t.Fatal(err)
	}
	putWeb(t, c, "pk/in")
	for _, o := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "private", nil, 404}, {"GET", "no", nil, 404}, {"GET", "missing.json", nil, 404}, {"GET", "../other/default/open", nil, 405},
		{"GET", "open.json", nil, 200}, {"PATCH", "open.json", nil, 200}, {"DELETE", "open.json", nil, 200}, {"HEAD", "open.json", nil, 200}, {"TRACE", "open.json", nil, 405},
		{"GET", "secret.json", nil, 401}, {"GET", "secret.json", []string{"X-Require-Whisk-Auth", "s3cret"}, 200}, {"GET", "secret.json", []string{"X-Require-Whisk-Auth", "S3cret"}, 401},
		{"GET", "number.json", []string{"X-Require-Whisk-Auth", "42"}, 200}, {"GET", "number.json", []string{"X-Require-Whisk-Auth", "43"}, 401},
		{"GET", "user.json", nil, 401}, {"GET", "user.json", []string{"Authorization", key(p)}, 200}, {"GET", "user.json", []string{"Authorization", "Basic eDp5"}, 401},
		{"GET", "off.json", nil, 200},
		{"OPTIONS", "secret.json", nil, 200}, {"OPTIONS", "own.json", nil, 200}, {"GET", "own.json", nil, 401},
	} {
		if a := call(t, p, o.method, base+o.path, "", o.headers...); a.status != o.status {
			t.Errorf("%s %s %v: %d %s", o.method, o.path, o.headers, a.status, a.body)
		}
	}
	if a := call(t, p, "GET", "/api/v1/web/guest/pk/in.json", ""); a.status != 200 {
		t.Errorf("in a package: %d %s", a.status, a.body)
	}
	a := call(t, p, "OPTIONS", base+"open", "", "Access-Control-Request-Headers", "X-Mine")
	if a.header.Get("Access-Control-Allow-Headers") != "X-Mine" || a.header.Get("Access-Control-Allow-Methods") != "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH" || a.body != "" {
		t.Errorf("options %v %s", a.header, a.body)
	}
	if a := call(t, p, "OPTIONS", base+"own.json", ""); a.header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(a.body, `"options"`) {
		t.Errorf("own options %v %s", a.header, a.body)
	}
	if a := call(t, p, "POST", base+"open.json", strings.Repeat("x", 1<<20+1)); a.status != 413 {
		t.Errorf("large body: %d", a.status)
	}
}
