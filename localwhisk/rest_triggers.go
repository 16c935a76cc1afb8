package localwhisk

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// trigger is a trigger as stored; never changed.
type trigger struct {
	name        openwhisk.Name
	version     string
	publish     bool
	annotations openwhisk.KeyValues
	parameters  openwhisk.KeyValues
	rules       map[string]link // by the rule's full name; nil until there was one
	updated     int64           // epoch ms
}

// link is a rule as its trigger knows it.
type link struct {
	action openwhisk.Name
	active bool
}

// triggers answers …/triggers[/name].
func (s *rest) triggers(r *request, rest []string) error {
	if len(rest) == 0 {
		return s.listTriggers(r)
	}
	if len(rest) > 1 {
		return r.noRoute()
	}
	if err := checkNames(rest[0]); err != nil {
		return err
	}
	n := openwhisk.Name{Namespace: s.p.cfg.Namespace, Entity: rest[0]}
	switch r.Method {
	case "GET":
		t := lookup(s.p.store, s.p.store.triggers, n)
		if t == nil {
			return s.p.store.missing(n)
		}
		return r.answer(t.document())
	case "PUT":
		return s.putTrigger(r, n)
	case "DELETE":
		old, err := remove(s.p.store, s.p.store.triggers, n, nil)
		if err != nil {
			return err
		}
		s.p.changed(n)
		return r.answer(old.document())
	case "POST":
		return s.fire(r, n)
	}
	return r.noMethod("GET, PUT, DELETE, POST")
}

func (s *rest) listTriggers(r *request) error {
	return listEntities(s, r, "triggers", s.p.store.triggers, func(t *trigger) map[string]any {
		d := t.document()
		for _, key := range []string{"parameters", "limits", "rules"} {
			delete(d, key)
		}
		return d
	})
}

func (s *rest) putTrigger(r *request, n openwhisk.Name) error {
	var in struct {
		Version     string              `json:"version"`
		Publish     *bool               `json:"publish"`
		Annotations openwhisk.KeyValues `json:"annotations"`
		Parameters  openwhisk.KeyValues `json:"parameters"`
	}
	if err := r.entity(&in); err != nil {
		return err
	}
	if err := tidy(in.Version, &in.Parameters, &in.Annotations); err != nil {
		return err
	}
	if err := s.p.cfg.Limits.checkSizes(nil, in.Parameters, in.Annotations); err != nil {
		return err
	}
	t, err := update(s.p.store, s.p.store.triggers, n, func(old *trigger) (*trigger, error) {
		t := trigger{name: n, version: "0.0.0"}
		switch {
		case old != nil && !r.overwrites():
			return nil, errExists
		case old != nil:
			t = *old
		case !validFeed(in.Annotations.Get("feed")):
			return nil, fail(400, "Feed name is not valid")
		}
		if in.Annotations != nil {
			t.annotations = in.Annotations
		}
		if in.Parameters != nil {
			t.parameters = in.Parameters
		}
		t.publish, t.updated, t.version = given(in.Publish, t.publish), s.p.cfg.Now().UnixMilli(), bump(t.version, in.Version)
		return &t, nil
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	return r.answer(t.document())
}

// validFeed reports whether an annotation names a feed's action, or nothing.
func validFeed(v json.RawMessage) bool {
	var name string
	if v == nil {
		return true
	}
	if json.Unmarshal(v, &name) != nil {
		return false
	}
	return !slices.ContainsFunc(strings.Split(strings.Trim(name, "/"), "/"),
		func(s string) bool { return !openwhisk.ValidSegment(s) })
}

// with returns the trigger with a rule linked to it, or without it.
func (t *trigger) with(rule openwhisk.Name, l *link) *trigger {
	u := *t
	u.rules = make(map[string]link, len(t.rules)+1)
	for k, v := range t.rules {
		u.rules[k] = v
	}
	if l != nil {
		u.rules[rule.String()] = *l
	} else {
		delete(u.rules, rule.String())
	}
	return &u
}

// document is the trigger as GET answers it.
func (t *trigger) document() map[string]any {
	d := map[string]any{"annotations": t.annotations, "limits": struct{}{}, "name": t.name.Entity, "namespace": t.name.Path(),
		"parameters": t.parameters, "publish": t.publish, "updated": t.updated, "version": t.version}
	if t.rules != nil {
		rules := map[string]any{}
		for name, l := range t.rules {
			rules[name] = map[string]any{"action": reference(l.action), "status": status(l.active)}
		}
		d["rules"] = rules
	}
	return d
}

func reference(n openwhisk.Name) map[string]string {
	return map[string]string{"name": n.Entity, "path": n.Path()}
}

func status(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

// inactiveRule is what a trigger's record says of a rule that was passed over.
func inactiveRule(rule string, action openwhisk.Name) string {
	return fmt.Sprintf("Rule '%s' is inactive, action '%s' was not activated.", rule, action)
}
