package localwhisk

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// webCall is a call of a web action.
type webCall struct {
	*request
	call       call
	extension  string // "http", "json", "html", "svg" or "text"
	path       string // behind the action's name
	authorized bool   // the caller gave the namespace's key
	raw        bool   // the action wants the request as it came
}

var webMethods = []string{"GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"}

// web answers …/web/namespace/package/name[.extension][/path]; a package of
// name default is none. Nobody needs a key here.
func (s *rest) web(r *request, rest string) error {
	parts := strings.SplitN(rest, "/", 4)
	if len(parts) < 3 || !slices.Contains(webMethods, r.Method) {
		return r.noRoute()
	}
	for i := range parts[:3] {
		if parts[i] = unescape(parts[i]); !openwhisk.ValidSegment(parts[i]) {
			return r.noRoute()
		}
	}
	w := &webCall{request: r, extension: "http", authorized: s.authorize(r) == nil}
	if len(parts) == 4 {
		w.path = "/" + parts[3]
	}
	n := openwhisk.Name{Namespace: parts[0], Package: parts[1], Entity: parts[2]}
	if n.Package == "default" {
		n.Package = ""
	}
	if base, ext, ok := cutLast(n.Entity, "."); ok && webExtensions[ext] != nil {
		n.Entity, w.extension = base, ext
	}
	var err error
	if w.call, err = s.p.control.resolve(n, nil); err != nil || !flag(w.call.action.annotations, "web-export") {
		return &apiError{404, errNotFound.Error(), true}
	}
	w.raw = flag(w.call.action.annotations, "raw-http")
	return s.webAction(w)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// webAction answers for the action, or lets it answer. What the platform says
// itself has the cross-origin headers, unless the action is to say them all.
func (s *rest) webAction(w *webCall) error {
	body, err := w.body(s.p.cfg.Limits.PayloadBytes)
	if err != nil {
		return asEarly(err)
	}
	options := w.Method == http.MethodOptions
	if own := flag(w.call.action.annotations, "web-custom-options"); !own {
		w.webCORS()
		if options {
			return nil
		}
	} else if options {
		return s.runWeb(w, body)
	}
	if !w.allowed() {
		return &apiError{401, errNoKey.Error(), true}
	}
	return s.runWeb(w, body)
}

func (w *webCall) webCORS() {
	h := w.w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH")
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	if asked := w.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

// allowed checks the secret that the action's annotation asks for: a text or a
// number in a header of the call, or the key of a user.
func (w *webCall) allowed() bool {
	v := w.call.action.annotations.Get("require-whisk-auth")
	var secret any
	if v == nil || json.Unmarshal(v, &secret) != nil {
		return v == nil
	}
	given := w.Header.Values("X-Require-Whisk-Auth")
	switch want := secret.(type) {
	case string:
		return len(given) > 0 && equal(given[0], want)
	case float64:
		return len(given) > 0 && equal(given[0], string(v))
	case bool:
		return !want || w.authorized
	}
	return false
}

// runWeb calls the action with the request as its parameters and turns its
// result into the answer.
func (s *rest) runWeb(w *webCall, body []byte) error {
	params, err := w.params(s.p.cfg.Namespace, body)
	if err != nil {
		return err
	}
	merged := w.call.given.Map()
	for k, v := range params {
		merged[k] = v
	}
	cl := w.call
	cl.params, cl.blocking, cl.trans = mustJSON(merged), true, w.trans
	run, err := s.p.control.top(cl)
	if err != nil {
		return asEarly(err)
	}
	w.w.Header().Set("X-Openwhisk-Activation-Id", run.id)
	t := time.NewTimer(s.p.cfg.BlockingWait)
	defer t.Stop()
	select {
	case a := <-run.done:
		return asEarly(w.answer(a.Response))
	case <-t.C:
	case <-w.Context().Done():
	case <-s.p.ctx.Done():
	}
	return &apiError{202, "Response not yet ready.", true}
}

// asEarly keeps an error from setting headers: those of a web action are its own.
func asEarly(err error) error {
	if e, ok := err.(*apiError); ok {
		return &apiError{e.status, e.text, true}
	}
	return err
}
