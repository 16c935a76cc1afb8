package localwhisk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"github.com/weft-stream/weft/openwhisk"
)

// maxContent bounds any body, as the platform's HTTP server does.
const maxContent = 50 << 20

// body reads the request's body, at most max bytes of it.
func (r *request) body(max int) ([]byte, error) {
	if r.ContentLength > int64(max) {
		return nil, fail(413, fmt.Sprintf("Request larger than allowed: %d > %d bytes.", r.ContentLength, max))
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, int64(max)+1))
	if err != nil {
		return nil, malformed(err.Error())
	}
	if len(b) > max {
		return nil, fail(413, fmt.Sprintf("Request larger than allowed: %d > %d bytes.", len(b), max))
	}
	return b, nil
}

// entity reads what a PUT sends.
func (r *request) entity(to any) error {
	b, err := r.body(maxContent)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, to); err != nil {
		return malformed(jsonTrouble(b, err))
	}
	return nil
}

// overwrites reports whether a PUT may change what is there.
func (r *request) overwrites() bool { return r.URL.Query().Get("overwrite") == "true" }

var errExists = fail(409, "resource already exists")

// given is the value sent, or the one to keep.
func given[T any](sent *T, old T) T {
	if sent != nil {
		return *sent
	}
	return old
}

// tidy checks what a PUT says of any entity, and keeps the last of several
// values of one key.
func tidy(version string, lists ...*openwhisk.KeyValues) error {
	if version != "" && (!versionForm.MatchString(version) || version == "0.0.0") {
		return malformed("bad semantic version " + version)
	}
	for _, l := range lists {
		for _, e := range *l {
			if e.Key == "" || e.Value == nil {
				return malformed("parameters malformed!")
			}
		}
		if *l != nil {
			*l = openwhisk.KeyValues{}.With(*l...)
		}
	}
	return nil
}

var versionForm = regexp.MustCompile(`^\d{1,9}\.\d{1,9}\.\d{1,9}$`)

// checkSizes turns away entities with more in them than the platform stores.
func (l Limits) checkSizes(e *openwhisk.Exec, parameters, annotations openwhisk.KeyValues) error {
	code := 0
	if e != nil && e.Code != nil {
		code = len(*e.Code)
	}
	for _, c := range []struct {
		field   string
		is, max int
	}{
		{"exec", code, l.CodeBytes}, {"parameters", size(parameters), l.ParameterBytes}, {"annotations", size(annotations), l.ParameterBytes},
	} {
		if c.is > c.max {
			return fail(413, fmt.Sprintf("%s larger than allowed: %d > %d bytes.", c.field, c.is, c.max))
		}
	}
	return nil
}

func size(kv openwhisk.KeyValues) int {
	n := 0
	for _, e := range kv {
		n += len(e.Key) + len(e.Value)
	}
	return n
}

// cors are the headers that the API lets browsers see.
func (r *request) cors() {
	h := r.w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Allow-Methods", "GET, DELETE, POST, PUT, HEAD")
}

const allowedHeaders = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"

// answer writes a 200 of the API.
func (r *request) answer(v any) error {
	r.cors()
	r.write(200, v)
	return nil
}

func (r *request) text(s string) error {
	r.w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	io.WriteString(r.w, s)
	return nil
}

func (r *request) write(status int, v any) {
	b, err := encode(v)
	if err != nil {
		status, b = 500, []byte(`{"error":"There was an error processing your request."}`)
	}
	r.w.Header().Set("Content-Type", "application/json")
	r.w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	r.w.WriteHeader(status)
	r.w.Write(b)
}
