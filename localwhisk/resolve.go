package localwhisk

import (
	"encoding/json"

	"github.com/weft-stream/weft/openwhisk"
)

// inherited are the parameters that an action has from its package and, over
// those, from the binding it was named by.
func (s *store) inherited(n openwhisk.Name) openwhisk.KeyValues {
	if n.Package == "" {
		return nil
	}
	p := s.pack(openwhisk.Name{Namespace: n.Namespace, Entity: n.Package})
	switch {
	case p == nil:
		return nil
	case p.binding == nil:
		return p.parameters
	}
	if bound := s.pack(*p.binding); bound != nil {
		return bound.parameters.With(p.parameters...)
	}
	return p.parameters
}

// resolve finds an action and lays the payload over its parameters, and those
// over its package's. A payload that is an array is passed as it is.
func (c *controller) resolve(n openwhisk.Name, payload json.RawMessage) (call, error) {
	own := c.p.store.resolve(n)
	a := c.p.store.action(own)
	if a == nil {
		return call{}, c.p.store.missing(n)
	}
	cl := call{action: a, params: payload, given: c.p.store.inherited(n)}
	if own != n {
		cl.binding = n.Path()
	}
	if !a.sequence() { // a sequence's only parameter is the list of its actions
		cl.given = cl.given.With(a.parameters...)
	}
	if firstByte(payload) == '[' {
		return cl, nil
	}
	merged := cl.given.Map()
	for k, v := range objectOf(payload) {
		merged[k] = v
	}
	cl.params = mustJSON(merged)
	return cl, nil
}

// fixed reports whether the action lets no caller set this parameter.
func (cl call) fixed(key string) bool {
	v := cl.given.Get(key)
	return flag(cl.action.annotations, openwhisk.AnnotationFinal) && v != nil && string(v) != "null"
}

// flag reports whether an annotation is the JSON value true, as those must be
// that change how an action may be called.
func flag(annotations openwhisk.KeyValues, key string) bool {
	return string(annotations.Get(key)) == "true"
}
