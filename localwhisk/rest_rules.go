package localwhisk

import (
	"encoding/json"

	"github.com/weft-stream/weft/openwhisk"
)

// rule is a rule as stored; never changed. Whether it is active is known to
// its trigger alone.
type rule struct {
	name        openwhisk.Name
	version     string
	publish     bool
	annotations openwhisk.KeyValues
	trigger     openwhisk.Name
	action      openwhisk.Name
	updated     int64 // epoch ms
}

// rules answers …/rules[/name].
func (s *rest) rules(r *request, rest []string) error {
	if len(rest) == 0 {
		return s.listRules(r)
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
		u := lookup(s.p.store, s.p.store.rules, n)
		if u == nil {
			return s.p.store.missing(n)
		}
		t := lookup(s.p.store, s.p.store.triggers, u.trigger)
		return r.answer(u.document(t.runs(n)))
	case "PUT":
		return s.putRule(r, n)
	case "DELETE":
		return s.deleteRule(r, n)
	case "POST":
		return s.setRule(r, n)
	}
	return r.noMethod("GET, PUT, DELETE, POST")
}

func (s *rest) listRules(r *request) error {
	return listEntities(s, r, "rules", s.p.store.rules, func(u *rule) map[string]any {
		d := u.document(false)
		delete(d, "status")
		return d
	})
}

// rulePut is what a PUT of a rule sends.
type rulePut struct {
	Version     string              `json:"version"`
	Publish     *bool               `json:"publish"`
	Annotations openwhisk.KeyValues `json:"annotations"`
	Trigger     *entityRef          `json:"trigger"`
	Action      *entityRef          `json:"action"`
}

// entityRef reads "/ns/name" and {"path": "ns", "name": "name"}.
type entityRef struct{ openwhisk.Name }

// UnmarshalJSON reads both forms.
func (e *entityRef) UnmarshalJSON(b []byte) (err error) {
	var text string
	var o struct{ Path, Name string }
	if json.Unmarshal(b, &text) != nil {
		if err := json.Unmarshal(b, &o); err != nil {
			return err
		}
		text = "/" + o.Path + "/" + o.Name
	}
	e.Name, err = openwhisk.ParseName(text)
	return err
}

func (s *rest) putRule(r *request, n openwhisk.Name) error {
	var in rulePut
	if err := r.entity(&in); err != nil {
		return err
	}
	if err := tidy(in.Version, &in.Annotations); err != nil {
		return err
	}
	active := true
	u, err := update(s.p.store, s.p.store.rules, n, func(old *rule) (*rule, error) {
		if old != nil && !r.overwrites() {
			return nil, errExists
		}
		u, err := s.changeRule(n, old, in)
		if err != nil {
			return nil, err
		}
		triggers := s.p.store.triggers
		if old != nil {
			before := triggers[old.trigger.String()]
			if active = before.runs(n); before != nil && old.trigger != u.trigger {
				triggers[old.trigger.String()] = before.with(n, nil)
			}
		}
		triggers[u.trigger.String()] = triggers[u.trigger.String()].with(n, &link{u.action, active})
		return u, nil
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	s.p.changed(u.trigger)
	return r.answer(u.document(active))
}

// changeRule makes the rule that a PUT asks for; old is nil for a new one. The
// store's lock is held.
func (s *rest) changeRule(n openwhisk.Name, old *rule, in rulePut) (*rule, error) {
	u := rule{name: n, version: "0.0.0"}
	if old != nil {
		u = *old
	} else if in.Trigger == nil || in.Action == nil {
		return nil, fail(400, "rule requires a valid trigger and a valid action")
	}
	if in.Trigger != nil {
		u.trigger = in.Trigger.In(s.p.cfg.Namespace)
	}
	if in.Action != nil {
		u.action = in.Action.In(s.p.cfg.Namespace)
	}
	if err := s.checkOwn(u.trigger, u.action); err != nil {
		return nil, err
	}
	if s.p.store.triggers[u.trigger.String()] == nil {
		return nil, fail(400, "trigger /"+u.trigger.String()+" does not exist")
	}
	if s.p.store.actions[s.p.store.bound(u.action).String()] == nil {
		return nil, fail(400, "action /"+u.action.String()+" does not exist")
	}
	if in.Annotations != nil {
		u.annotations = in.Annotations
	}
	u.publish, u.updated, u.version = given(in.Publish, u.publish), s.p.cfg.Now().UnixMilli(), bump(u.version, in.Version)
	return &u, nil
}

func (s *rest) deleteRule(r *request, n openwhisk.Name) error {
	old, err := remove(s.p.store, s.p.store.rules, n, func(u *rule) error {
		if t := s.p.store.triggers[u.trigger.String()]; t != nil {
			s.p.store.triggers[u.trigger.String()] = t.with(n, nil)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	s.p.changed(old.trigger)
	return r.answer(old.document(false))
}

// setRule makes a rule active or inactive.
func (s *rest) setRule(r *request, n openwhisk.Name) error {
	var in struct{ Status string }
	if err := r.entity(&in); err != nil {
		return err
	}
	if in.Status != "active" && in.Status != "inactive" {
		return malformed(in.Status + " is not a recognized rule state")
	}
	u, err := update(s.p.store, s.p.store.rules, n, func(u *rule) (*rule, error) {
		if u == nil {
			return nil, errNotFound
		}
		t := s.p.store.triggers[u.trigger.String()]
		if active := in.Status == "active"; t != nil {
			s.p.store.triggers[u.trigger.String()] = t.with(n, &link{u.action, active})
		} else if active {
			return nil, fail(404, "Only rules with existing triggers can be activated")
		}
		return u, nil
	})
	if err != nil {
		return err
	}
	s.p.changed(u.trigger)
	r.cors()
	return r.text("OK")
}

// runs reports whether a rule of the trigger is active; t may be nil.
func (t *trigger) runs(rule openwhisk.Name) bool { return t != nil && t.rules[rule.String()].active }

// document is the rule as GET answers it.
func (u *rule) document(active bool) map[string]any {
	return map[string]any{"action": reference(u.action), "annotations": u.annotations, "name": u.name.Entity, "namespace": u.name.Path(),
		"publish": u.publish, "status": status(active), "trigger": reference(u.trigger), "updated": u.updated, "version": u.version}
}
