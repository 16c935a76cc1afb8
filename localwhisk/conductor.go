package localwhisk

import (
	"encoding/json"
	"fmt"

	"github.com/weft-stream/weft/openwhisk"
)

// accounting bounds a composition together with those inside it.
type accounting struct {
	components int // at most the sequence length
	conductors int // at most twice that and one more
}

// composition is one conductor action's session. Its state lives here only.
type composition struct {
	c     *controller
	chain chain
	used  *accounting
	state map[string]json.RawMessage // nil: the conductor gave none
}

// conducted is what a conductor answers.
type conducted struct {
	Action json.RawMessage `json:"action"`
	Params json.RawMessage `json:"params"`
	State  json.RawMessage `json:"state"`
}

// runComposition asks the conductor, runs the component it names, and asks
// again, until it names none.
func (c *controller) runComposition(id string, cl call) *openwhisk.Activation {
	s := &composition{c: c, chain: chain{id: id, cl: cl, start: c.p.cfg.Now().UnixMilli(), memory: cl.action.limits.Memory}, used: cl.shared}
	if s.used == nil {
		s.used = &accounting{}
	}
	payload := cl.params
	for {
		next, end := s.conduct(payload)
		if end != nil {
			return c.finish(&s.chain, *end)
		}
		payload, end = s.component(next)
		if end != nil {
			return c.finish(&s.chain, *end)
		}
	}
}

// conduct runs the conductor once; end is set when the composition is over.
func (s *composition) conduct(payload json.RawMessage) (next conducted, end *openwhisk.Response) {
	if s.used.conductors > 2*s.c.p.cfg.Limits.SequenceLength {
		return next, ended(openwhisk.StatusApplicationError, "Too many actions in the composition.")
	}
	s.used.conductors++
	cl := s.chain.cl
	step := call{action: cl.action, params: withState(payload, s.state), cause: s.chain.id, trans: s.c.p.child(cl.trans)}
	a, end := s.wait(func() (string, *openwhisk.Activation, bool, error) { return s.c.stepSimple(step) })
	if end != nil {
		return next, end
	}
	if json.Unmarshal(a.Response.Result, &next) != nil { // an array
		return next, ended(openwhisk.StatusWhiskError, "Activation failure during composition.")
	}
	s.state = nil
	if next.State != nil {
		s.state = boxed(next.State, "state")
	}
	if next.Action != nil {
		return next, nil
	}
	result := a.Response.Result
	if next.Params != nil {
		result = mustJSON(boxed(next.Params, "value"))
	}
	return next, &openwhisk.Response{StatusCode: a.Response.StatusCode, Result: result}
}

// component runs what the conductor named and returns what to ask it next.
// A name that leads nowhere is told to the conductor as an error.
func (s *composition) component(next conducted) (payload json.RawMessage, end *openwhisk.Response) {
	var text string
	n, err := openwhisk.Name{}, json.Unmarshal(next.Action, &text)
	if err == nil {
		n, err = openwhisk.ParseName(text)
	}
	if err != nil {
		return errorResult(fmt.Sprintf("Failed to parse action name from json value %s during composition.", next.Action)), nil
	}
	if s.used.components >= s.c.p.cfg.Limits.SequenceLength {
		return errorResult("Too many actions in the composition."), nil
	}
	n = n.In(s.c.p.cfg.Namespace)
	if n.Namespace != s.c.p.cfg.Namespace {
		return errorResult(fmt.Sprintf("Failed entitlement check for action with name '%s' during composition.", n)), nil
	}
	params := next.Params
	if params != nil {
		params = mustJSON(boxed(params, "value"))
	}
	cl, err := s.c.resolve(n, params)
	if err != nil {
		return errorResult(fmt.Sprintf("Failed to resolve action with name '%s' during composition.", n)), nil
	}
	cl.cause, cl.trans = s.chain.id, s.c.p.child(s.chain.cl.trans)
	if cl.action.conductor() && !cl.action.sequence() {
		cl.shared = s.used
	} else {
		s.used.components++
	}
	a, end := s.wait(func() (string, *openwhisk.Activation, bool, error) { return s.c.step(cl) })
	if end != nil {
		return nil, end
	}
	return a.Response.Result, nil
}

// wait takes one step; end is set when the platform failed at it.
func (s *composition) wait(step func() (string, *openwhisk.Activation, bool, error)) (*openwhisk.Activation, *openwhisk.Response) {
	id, a, ok, err := step()
	if err != nil {
		return nil, ended(openwhisk.StatusWhiskError, "Activation failure during composition.")
	}
	if !ok {
		s.chain.logs = append(s.chain.logs, id)
		return nil, ended(openwhisk.StatusWhiskError, fmt.Sprintf(
			"Timeout reached when retrieving activation %s during composition.", id))
	}
	s.chain.took(a)
	return a, nil
}

func ended(code openwhisk.StatusCode, text string) *openwhisk.Response {
	r := errorResponse(code, text)
	return &r
}

// boxed is an object as it stands and anything else as {key: value}.
func boxed(v json.RawMessage, key string) map[string]json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(v, &o) == nil && o != nil {
		return o
	}
	return map[string]json.RawMessage{key: v}
}

// withState lays the state over the payload.
func withState(payload json.RawMessage, state map[string]json.RawMessage) json.RawMessage {
	if state == nil {
		return payload
	}
	merged := objectOf(payload)
	for k, v := range state {
		merged[k] = v
	}
	return mustJSON(merged)
}
