package localwhisk

import (
	"fmt"

	"github.com/weft-stream/weft/openwhisk"
)

// packages answers …/packages[/name].
func (s *rest) packages(r *request, rest []string) error {
	if len(rest) == 0 {
		return s.listPackages(r)
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
		return s.getPackage(r, n)
	case "PUT":
		return s.putPackage(r, n)
	case "DELETE":
		return s.deletePackage(r, n)
	}
	return r.noMethod("GET, PUT, DELETE")
}

func (s *rest) listPackages(r *request) error {
	return listEntities(s, r, "packages", s.p.store.packages, func(k *pack) map[string]any {
		d := k.document()
		delete(d, "parameters")
		if k.binding == nil {
			d["binding"] = false
		}
		return d
	})
}

// getPackage answers with the package and its actions; a binding shows those
// of the package it stands for, and its parameters under its own.
func (s *rest) getPackage(r *request, n openwhisk.Name) error {
	p := s.p.store.pack(n)
	if p == nil {
		return s.p.store.missing(n)
	}
	d := p.document()
	if p.binding != nil {
		bound := s.p.store.pack(*p.binding)
		if bound == nil {
			return errNotFound
		}
		d["parameters"] = bound.parameters.With(p.parameters...)
		n = bound.name
	}
	actions, feeds := []openwhisk.PackageAction{}, []openwhisk.PackageAction{}
	for _, a := range s.p.store.list(n.Entity) {
		entry := openwhisk.PackageAction{Annotations: a.annotations, Name: a.name.Entity, Version: a.version}
		if a.annotations.Truthy("feed") {
			feeds = append(feeds, entry)
		} else {
			actions = append(actions, entry)
		}
	}
	d["actions"], d["feeds"] = actions, feeds
	return r.answer(d)
}

// packagePut is what a PUT of a package sends.
type packagePut struct {
	Version     string              `json:"version"`
	Publish     *bool               `json:"publish"`
	Annotations openwhisk.KeyValues `json:"annotations"`
	Parameters  openwhisk.KeyValues `json:"parameters"`
	Binding     *struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"binding"`
}

func (s *rest) putPackage(r *request, n openwhisk.Name) error {
	if n.Entity == "default" {
		return fail(400, "Package name 'default' is reserved.")
	}
	var in packagePut
	if err := r.entity(&in); err != nil {
		return err
	}
	if err := tidy(in.Version, &in.Parameters, &in.Annotations); err != nil {
		return err
	}
	if err := s.p.cfg.Limits.checkSizes(nil, in.Parameters, in.Annotations); err != nil {
		return err
	}
	p, err := update(s.p.store, s.p.store.packages, n, func(old *pack) (*pack, error) {
		if old != nil && !r.overwrites() {
			return nil, errExists
		}
		return s.changePackage(n, old, in)
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	return r.answer(p.document())
}

// changePackage makes the package that a PUT asks for; old is nil for a new
// one. The store's lock is held.
func (s *rest) changePackage(n openwhisk.Name, old *pack, in packagePut) (*pack, error) {
	p := pack{name: n, version: "0.0.0", annotations: openwhisk.KeyValues{}}
	if old != nil {
		p = *old
	}
	if b := in.Binding; b != nil && b.Name != "" {
		to := openwhisk.Name{Namespace: b.Namespace, Entity: b.Name}.In(s.p.cfg.Namespace)
		if err := s.checkOwn(to); err != nil {
			return nil, err
		}
		target := s.p.store.packages[to.String()]
		switch {
		case target == nil && s.p.store.absent(to) != errNotFound:
			return nil, fail(409, "Cannot bind to a resource that is not a package.")
		case target == nil:
			return nil, fail(400, "Binding references a package that does not exist.")
		case old != nil && old.binding == nil:
			return nil, fail(409, "Resource is a package and cannot be converted into a binding.")
		case target.binding != nil:
			return nil, fail(400, "Cannot bind to another package binding.")
		}
		p.binding = &to
	}
	if in.Annotations != nil {
		p.annotations = in.Annotations
	}
	p.annotations = p.annotations.Without("binding")
	if p.binding != nil {
		p.annotations = append(p.annotations, openwhisk.KV("binding", p.bound()))
	}
	if in.Parameters != nil {
		p.parameters = in.Parameters
	}
	p.publish, p.updated, p.version = given(in.Publish, p.publish), s.p.cfg.Now().UnixMilli(), bump(p.version, in.Version)
	return &p, nil
}

func (s *rest) deletePackage(r *request, n openwhisk.Name) error {
	force := r.URL.Query().Get("force") == "true"
	old, err := remove(s.p.store, s.p.store.packages, n, func(p *pack) error {
		within := 0
		for key, a := range s.p.store.actions {
			if p.binding == nil && a.name.Path() == n.String() {
				if within++; force {
					delete(s.p.store.actions, key)
				}
			}
		}
		if within == 0 || force {
			return nil
		}
		text := "entities"
		if within == 1 {
			text = "entity"
		}
		return fail(409, fmt.Sprintf("Package not empty (contains %d %s). Set force param or delete package contents.", within, text))
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	return r.answer(old.document())
}

// document is the package as PUT answers it, without its actions.
func (p *pack) document() map[string]any {
	return map[string]any{"annotations": p.annotations, "binding": p.bound(), "name": p.name.Entity,
		"namespace": p.name.Path(), "parameters": p.parameters, "publish": p.publish, "updated": p.updated, "version": p.version}
}

// bound is what a binding stands for; {} for a package.
func (p *pack) bound() map[string]string {
	if p.binding == nil {
		return map[string]string{}
	}
	return map[string]string{"namespace": p.binding.Namespace, "name": p.binding.Entity}
}
