package localwhisk

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// activations answers …/activations[/id[/result|/logs]].
func (s *rest) activations(r *request, rest []string) error {
	if r.Method != "GET" {
		return r.noMethod("GET")
	}
	if len(rest) == 0 {
		return s.listActivations(r)
	}
	if len(rest[0]) != 32 {
		return invalid(fmt.Sprintf("Activation id length is %d but must be 32.", len(rest[0])))
	}
	a := s.p.store.activation(rest[0])
	if a == nil {
		return errNotFound
	}
	switch {
	case len(rest) == 1:
		return r.answer(shown(a))
	case len(rest) == 2 && rest[1] == "result":
		return r.answer(a.Response)
	case len(rest) == 2 && rest[1] == "logs":
		return r.answer(map[string][]string{"logs": a.Logs})
	}
	return errNotFound
}

// fired is the record of a trigger's fire: without an end and what goes with it.
type fired struct {
	*openwhisk.Activation
	End      *int64 `json:"end,omitempty"`
	Duration *int64 `json:"duration,omitempty"`
}

func shown(a *openwhisk.Activation) any {
	if a.End == 0 {
		return fired{Activation: a}
	}
	return a
}

func summary(a *openwhisk.Activation) any {
	if a.End != 0 {
		return a.Summary()
	}
	return struct {
		openwhisk.ActivationSummary
		End        *int64 `json:"end,omitempty"`
		Duration   *int64 `json:"duration,omitempty"`
		StatusCode *int   `json:"statusCode,omitempty"`
	}{ActivationSummary: a.Summary()}
}

func (s *rest) listActivations(r *request) error {
	p, err := r.page("activations")
	if err != nil {
		return err
	}
	match, err := s.filter(r)
	if err != nil {
		return err
	}
	docs := r.URL.Query().Get("docs") == "true"
	if p.count && docs {
		return fail(400, "The parameter 'docs' is not permitted with 'count'.")
	}
	all := s.p.store.listActivations(match)
	if p.count {
		return r.answer(p.counted("activations", len(all)))
	}
	out := []any{}
	for _, a := range pageOf(all, p) {
		if docs {
			out = append(out, shown(a))
		} else {
			out = append(out, summary(a))
		}
	}
	return r.answer(out)
}

// filter reads name, since and upto of a list call.
func (s *rest) filter(r *request) (func(*openwhisk.Activation) bool, error) {
	q := r.URL.Query()
	name := strings.TrimSpace(q.Get("name"))
	if name != "" {
		if n, err := openwhisk.ParseName(name); err != nil || n.Namespace != "" {
			return nil, malformedQuery("name", "Parameter may be a 'simple' name or 'package-name/simple' name: "+name)
		}
	}
	var bounds [2]int64
	for i, key := range []string{"since", "upto"} {
		var err error
		if text := q.Get(key); text != "" {
			if bounds[i], err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, malformedQuery(key, "Parameter is not a valid value for epoch seconds: "+text)
			}
		}
	}
	return func(a *openwhisk.Activation) bool {
		return (name == "" || name == localName(a)) && a.Start >= bounds[0] && (bounds[1] == 0 || a.Start <= bounds[1])
	}, nil
}

// localName is the name that an activation is listed under: with the package,
// or the binding, by which its action was named.
func localName(a *openwhisk.Activation) string {
	for _, key := range []string{"binding", "path"} {
		var path string
		if json.Unmarshal(a.Annotations.Get(key), &path) != nil {
			continue
		}
		parts := strings.Split(path, "/")
		if key == "binding" && len(parts) == 2 || key == "path" && len(parts) == 3 {
			return parts[1] + "/" + a.Name
		}
	}
	return a.Name
}
