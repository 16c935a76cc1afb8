package localwhisk

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// rest answers the REST API.
type rest struct {
	p *Platform
}

func newREST(p *Platform) http.Handler { return &rest{p} }

// request is one call being answered.
type request struct {
	*http.Request
	w     http.ResponseWriter
	trans openwhisk.TransID
}

// apiError is an answer with a status and the platform's text.
type apiError struct {
	status int
	text   string
	early  bool // turned away before the API proper: no CORS header
}

func (e *apiError) Error() string { return e.text }

func fail(status int, text string) error { return &apiError{status: status, text: text} }

// malformed is the answer to content that cannot be read.
func malformed(text string) error {
	return &apiError{400, "The request content was malformed:\n" + text, true}
}

// malformedQuery is the answer to a query parameter that cannot be read.
func malformedQuery(name, text string) error {
	return &apiError{400, "The query parameter '" + name + "' was malformed:\n" + text, true}
}

// invalid is the answer to a path that names nothing that could exist.
func invalid(text string) error { return &apiError{400, text, true} }

var errNotFound = fail(404, "The requested resource does not exist.")

// forbidden is the answer to a call that needs what belongs to others.
func forbidden(what string) error {
	return fail(403, "The supplied authentication is not authorized to access '"+what+"'.")
}

// checkOwn turns away names in namespaces that the caller has no rights to.
func (s *rest) checkOwn(names ...openwhisk.Name) error {
	var others []string
	for _, n := range names {
		if n.Namespace != s.p.cfg.Namespace {
			others = append(others, n.String())
		}
	}
	if others == nil {
		return nil
	}
	slices.Sort(others)
	return forbidden(strings.Join(slices.Compact(others), ", "))
}

// checkNames turns away path segments that cannot be names.
func checkNames(segments ...string) error {
	for _, s := range segments {
		switch {
		case openwhisk.ValidSegment(s):
		case len(s) > openwhisk.MaxNameLength:
			return invalid(fmt.Sprintf("Name segement longer than allowed: %d > %d.", len(s), openwhisk.MaxNameLength))
		default:
			return invalid("The name of the entity contains illegal characters.")
		}
	}
	return nil
}

// noRoute is the answer to a path that leads nowhere, noMethod that to a
// method that a path has not.
func (r *request) noRoute() error { return r.noMethod("OPTIONS") }

func (r *request) noMethod(supported string) error {
	r.w.Header().Set("Allow", supported)
	return &apiError{405, "HTTP method not allowed, supported methods: " + supported, true}
}

// ServeHTTP gives the call its transaction and answers it.
func (s *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-ID")
	if id == "" || len(id) > 128 {
		id = randomText(32)
	}
	w.Header().Set("X-Request-Id", id)
	rq := &request{r, w, openwhisk.TransID{ID: id, Start: s.p.cfg.Now().UnixMilli()}}
	if err := s.route(rq); err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			e = &apiError{status: 500, text: err.Error()}
		}
		if !e.early {
			rq.cors()
		}
		rq.write(e.status, map[string]string{"error": e.text, "code": id})
	}
}

func (s *rest) route(r *request) error {
	path := r.URL.EscapedPath()
	switch {
	case path == "/":
		r.write(200, s.root())
		return nil
	case path == "/ping":
		return r.text("pong")
	case path == "/api/v1" || path == "/api/v1/":
		return r.answer(map[string]any{"api_version": "1.0.0", "api_version_path": "v1", "build": "localwhisk",
			"buildno": "localwhisk", "description": "OpenWhisk API",
			"swagger_paths": map[string]string{"api-docs": "/api-docs", "ui": "/docs"}})
	}
	if rest, ok := strings.CutPrefix(path, "/api/v1/web/"); ok {
		return s.web(r, rest)
	}
	rest, ok := strings.CutPrefix(path, "/api/v1/namespaces")
	if !ok {
		return r.noRoute()
	}
	if r.Method == http.MethodOptions {
		r.cors()
		return r.text("OK")
	}
	if err := s.authorize(r); err != nil {
		return err
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	if parts[0] == "" {
		return r.answer([]string{s.p.cfg.Namespace})
	}
	ns := unescape(parts[0])
	if ns != openwhisk.DefaultNamespace && ns != s.p.cfg.Namespace {
		if r.Method == http.MethodGet && len(parts) == 2 && parts[1] == "packages" {
			return r.answer([]any{}) // anybody may list a namespace's public packages; here there are none
		}
		if len(parts) > 2 {
			ns += "/" + unescape(parts[2])
		}
		return forbidden(ns)
	}
	if len(parts) == 1 {
		return r.noRoute()
	}
	for i := range parts {
		parts[i] = unescape(parts[i])
	}
	slash := strings.HasSuffix(rest, "/")
	switch parts[1] {
	case "actions":
		return s.actions(r, parts[2:], slash)
	case "packages":
		return s.packages(r, parts[2:])
	case "triggers":
		return s.triggers(r, parts[2:])
	case "rules":
		return s.rules(r, parts[2:])
	case "activations":
		return s.activations(r, parts[2:])
	case "limits":
		return r.answer(s.p.cfg.Limits.namespaceLimits())
	}
	return r.noRoute()
}

var errNoKey = &apiError{401, "The resource requires authentication, which was not supplied with the request", true}

func (s *rest) authorize(r *request) error {
	h := r.Header.Get("Authorization")
	if h == "" {
		return errNoKey
	}
	kind, text, _ := strings.Cut(h, " ")
	got, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if !strings.EqualFold(kind, "basic") || err != nil || !equal(string(got), s.p.cfg.Auth) {
		return &apiError{401, "The supplied authentication is invalid", true}
	}
	return nil
}

// equal compares secrets.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *rest) root() any {
	runtimes := map[string][]any{}
	for _, kind := range s.p.kinds() {
		family, _, _ := strings.Cut(kind, ":")
		runtimes[family] = append(runtimes[family], map[string]any{"attached": true, "default": len(runtimes[family]) == 0,
			"deprecated": false, "image": s.p.cfg.Runtimes[kind].Image, "kind": kind, "requireMain": false})
	}
	return map[string]any{"api_paths": []string{"/api/v1"}, "description": "OpenWhisk", "limits": s.p.cfg.Limits.rootLimits(),
		"runtimes": runtimes, "support": map[string]string{"github": "https://github.com/apache/openwhisk/issues", "slack": "http://slack.openwhisk.org"}}
}
