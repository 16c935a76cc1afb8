package localwhisk

import (
	"encoding/json"
	"fmt"

	"github.com/weft-stream/weft/openwhisk"
)

// chain gathers what a sequence or composition answers with.
type chain struct {
	id       string
	cl       call
	start    int64 // epoch ms
	logs     []string
	duration int64 // of the steps, ms
	memory   int   // the steps' largest, MB
}

// took counts a step that ended.
func (s *chain) took(a *openwhisk.Activation) {
	s.logs = append(s.logs, a.ActivationID)
	s.duration += a.Duration
	var l actionLimits
	if v := a.Annotations.Get("limits"); v != nil && json.Unmarshal(v, &l) == nil {
		s.memory = max(s.memory, l.Memory)
	}
}

// finish writes the record of the whole.
func (c *controller) finish(s *chain, resp openwhisk.Response) *openwhisk.Activation {
	end := c.p.cfg.Now().UnixMilli()
	cl := s.cl
	var ann openwhisk.KeyValues
	ann = append(ann, openwhisk.KV("topmost", cl.cause == ""), openwhisk.KV("path", cl.action.name.String()),
		openwhisk.KV("waitTime", max(0, s.start-cl.trans.Start)))
	if cl.action.conductor() {
		ann = append(ann, openwhisk.KV("conductor", true))
	}
	ann = append(ann, openwhisk.KV("kind", openwhisk.KindSequence))
	if cl.cause != "" {
		ann = append(ann, openwhisk.KV("causedBy", openwhisk.KindSequence))
	}
	limits := cl.action.limits
	if s.memory > 0 {
		limits.Memory = s.memory
	}
	ann = append(ann, openwhisk.KV("limits", limits))
	a := &openwhisk.Activation{ActivationID: s.id, Annotations: ann, Cause: cl.cause, Duration: s.duration, End: end,
		Logs: append([]string{}, s.logs...), Name: cl.action.name.Entity, Namespace: c.p.cfg.Namespace, Response: resp,
		Start: s.start, Subject: c.p.cfg.Namespace, Version: cl.action.version}
	c.p.store.record(a)
	c.p.activationEvent("controller0", a, limits.Memory)
	return a
}

// runSequence runs the components one after the other, each on the result of
// the one before, and stops at the first that answers with an error. atomic
// is the number of actions run so far for the topmost sequence; the number
// after this one is returned.
func (c *controller) runSequence(id string, cl call, atomic int) (*openwhisk.Activation, int) {
	s := &chain{id: id, cl: cl, start: c.p.cfg.Now().UnixMilli()}
	resp := openwhisk.Response{Result: cl.params}
	for _, component := range cl.action.exec.Components {
		if atomic >= c.p.cfg.Limits.SequenceLength {
			return c.finish(s, errorResponse(openwhisk.StatusApplicationError, "Too many actions in the sequence.")), atomic
		}
		n, err := openwhisk.ParseName(component)
		var next call
		if err == nil {
			next, err = c.resolve(n.In(c.p.cfg.Namespace), resp.Result)
		}
		if err != nil {
			return c.finish(s, errorResponse(openwhisk.StatusApplicationError, "Sequence component does not exist.")), atomic
		}
		next.cause, next.trans = id, c.p.child(cl.trans)
		var a *openwhisk.Activation
		if next.action.sequence() {
			a, atomic = c.runSequence(randomHex(16), next, atomic)
		} else {
			atomic++
			var step string
			var ok bool
			step, a, ok, err = c.step(next)
			if err != nil {
				return c.finish(s, errorResponse(openwhisk.StatusWhiskError, "Sequence failed.")), atomic
			}
			if !ok {
				s.logs = append(s.logs, step)
				return c.finish(s, errorResponse(openwhisk.StatusWhiskError, fmt.Sprintf(
					"Timeout reached when retrieving activation %s for sequence component.", step))), atomic
			}
		}
		s.took(a)
		resp = a.Response
		if !resp.Success() || hasError(resp.Result) {
			break
		}
	}
	return c.finish(s, resp), atomic
}

// errorResponse is a response that the platform makes up.
func errorResponse(code openwhisk.StatusCode, text string) openwhisk.Response {
	return openwhisk.Response{StatusCode: code, Result: errorResult(text)}
}

func errorResult(text string) json.RawMessage {
	return mustJSON(map[string]string{"error": text})
}

func hasError(result json.RawMessage) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(result, &o) == nil && o["error"] != nil
}
