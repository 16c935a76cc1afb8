package localwhisk

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// actions answers …/actions[/[package/]name].
func (s *rest) actions(r *request, rest []string, slash bool) error {
	n := openwhisk.Name{Namespace: s.p.cfg.Namespace}
	switch len(rest) {
	case 0:
		return s.listActions(r, "")
	case 1:
		if slash {
			return s.listPackage(r, openwhisk.Name{Namespace: n.Namespace, Entity: rest[0]})
		}
		n.Entity = rest[0]
	case 2:
		n.Package, n.Entity = rest[0], rest[1]
	default:
		return r.noRoute()
	}
	if err := checkNames(rest...); err != nil {
		return err
	}
	if n.Package != "" {
		if err := s.checkPackage(r, openwhisk.Name{Namespace: n.Namespace, Entity: n.Package}); err != nil {
			return err
		}
	}
	switch r.Method {
	case "GET":
		return s.getAction(r, n)
	case "PUT":
		return s.putAction(r, n)
	case "DELETE":
		return s.deleteAction(r, n)
	case "POST":
		return s.invoke(r, n)
	}
	return r.noMethod("GET, PUT, DELETE, POST")
}

// checkPackage looks whether there is a package for an action, and turns away
// changes of what is only bound.
func (s *rest) checkPackage(r *request, n openwhisk.Name) error {
	p := s.p.store.pack(n)
	switch {
	case p == nil:
		return s.p.store.missing(n)
	case p.binding != nil && (r.Method == "PUT" || r.Method == "DELETE"):
		return fail(400, "Operation not permitted on package binding.")
	}
	return nil
}

// getAction answers with the action and, under its own parameters, those of
// its package and of the binding it was named by.
func (s *rest) getAction(r *request, n openwhisk.Name) error {
	a := s.p.store.action(s.p.store.resolve(n))
	if a == nil {
		return s.p.store.missing(n)
	}
	shown := *a
	shown.parameters = s.p.store.inherited(n).With(a.parameters...)
	return r.answer(shown.document(r.URL.Query().Get("code") != "false"))
}

// listPackage lists the actions of a package or of what a binding binds.
func (s *rest) listPackage(r *request, n openwhisk.Name) error {
	p := s.p.store.pack(n)
	switch {
	case p == nil:
		return s.p.store.missing(n)
	case p.binding != nil:
		n = *p.binding
	}
	return s.listActions(r, n.Entity)
}

func (s *rest) listActions(r *request, pkg string) error {
	p, err := r.page("actions")
	if err != nil {
		return err
	}
	all := s.p.store.list(pkg)
	if p.count {
		return r.answer(p.counted("actions", len(all)))
	}
	docs := []any{}
	for _, a := range pageOf(all, p) {
		docs = append(docs, a.summary())
	}
	return r.answer(docs)
}

func (s *rest) deleteAction(r *request, n openwhisk.Name) error {
	old, err := remove(s.p.store, s.p.store.actions, n, nil)
	if err != nil {
		return err
	}
	s.p.changed(n)
	return r.answer(old.document(true))
}

// document is the action as GET answers it.
func (a *action) document(code bool) map[string]any {
	e := map[string]any{"kind": a.exec.Kind}
	if a.sequence() {
		e["components"] = a.exec.Components
	} else {
		if a.exec.Code != nil && code {
			e["code"] = *a.exec.Code
		}
		e["binary"] = a.exec.Binary != nil && *a.exec.Binary
		if a.exec.Main != "" {
			e["main"] = a.exec.Main
		}
		if a.exec.Image != "" {
			e["image"] = a.exec.Image
		}
	}
	d := a.summary()
	d["exec"], d["parameters"] = e, a.parameters
	return d
}

// summary is the action in a list.
func (a *action) summary() map[string]any {
	return map[string]any{"annotations": a.annotations, "exec": map[string]bool{"binary": a.exec.Binary != nil && *a.exec.Binary},
		"limits": a.limits, "name": a.name.Entity, "namespace": a.name.Path(), "publish": a.publish,
		"updated": a.updated, "version": a.version}
}

// jsonTrouble says where JSON goes wrong.
func jsonTrouble(b []byte, err error) string {
	if se, ok := err.(*json.SyntaxError); ok {
		line := 1 + strings.Count(string(b[:min(int(se.Offset), len(b))]), "\n")
		return fmt.Sprintf("%s at input index %d (line %d)", se, max(0, se.Offset-1), line)
	}
	return err.Error()
}
