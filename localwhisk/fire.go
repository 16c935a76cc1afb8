package localwhisk

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// fire answers POST …/triggers/name: 202 with the trigger's activation, whose
// record lists what its rules started, or 204 if it has no active rule.
func (s *rest) fire(r *request, n openwhisk.Name) error {
	payload, err := s.payload(r)
	if err != nil {
		return err
	}
	if err := s.p.control.fires.check(); err != nil {
		s.p.control.metric(openwhisk.MetricTimedRateLimit, 1)
		return err
	}
	t := lookup(s.p.store, s.p.store.triggers, n)
	if t == nil {
		return s.p.store.missing(n)
	}
	r.cors()
	active := false
	for _, l := range t.rules {
		active = active || l.active
	}
	if !active {
		r.w.WriteHeader(204)
		return nil
	}
	a := &openwhisk.Activation{ActivationID: randomHex(16), Annotations: openwhisk.KeyValues{}, Name: n.Entity,
		Namespace: s.p.cfg.Namespace, Response: openwhisk.Response{Result: payload},
		Start: s.p.cfg.Now().UnixMilli(), Subject: s.p.cfg.Namespace, Version: t.version}
	// The platform hands the headers of the fire on, with the key in them.
	args := t.parameters.With(openwhisk.KV("__ow_headers", headersOf(r.Request))).Map()
	for k, v := range objectOf(payload) {
		args[k] = v
	}
	trans := r.trans
	s.p.control.wg.Go(func() {
		a.Logs = s.p.control.activateRules(t, mustJSON(args), trans)
		s.p.store.record(a)
	})
	r.w.Header().Set("X-Openwhisk-Activation-Id", a.ActivationID)
	r.write(202, map[string]string{"activationId": a.ActivationID})
	return nil
}

// ruleResult is a line of a trigger's record.
type ruleResult struct {
	StatusCode   openwhisk.StatusCode `json:"statusCode"`
	Success      bool                 `json:"success"`
	ActivationID string               `json:"activationId,omitempty"`
	Error        string               `json:"error,omitempty"`
	Rule         string               `json:"rule"`
	Action       string               `json:"action"`
}

// activateRules calls the action of each rule, throttled as any call, and
// says of each what became of it.
func (c *controller) activateRules(t *trigger, args json.RawMessage, trans openwhisk.TransID) []string {
	lines := make([]string, 0, len(t.rules))
	for name, l := range t.rules {
		res := ruleResult{Rule: name, Action: l.action.String()}
		if !l.active {
			res.StatusCode, res.Error = openwhisk.StatusApplicationError, inactiveRule(name, l.action)
		} else if id, err := c.activateRule(l.action, args, trans); err != nil {
			res.StatusCode, res.Error = openwhisk.StatusApplicationError, err.Error()
			var e *apiError
			if !errors.As(err, &e) || e.status >= 500 {
				res.StatusCode = openwhisk.StatusWhiskError
			}
		} else {
			res.Success, res.ActivationID = true, id
		}
		lines = append(lines, string(mustJSON(res)))
	}
	slices.Sort(lines)
	return lines
}

func (c *controller) activateRule(n openwhisk.Name, args json.RawMessage, trans openwhisk.TransID) (id string, err error) {
	cl, err := c.resolve(n, args)
	if err != nil {
		return "", err
	}
	if err := checkFinal(cl, args); err != nil {
		return "", err
	}
	cl.trans = trans
	run, err := c.top(cl)
	return run.id, err
}

// headersOf are a request's headers as an action gets them: lower-case names,
// without those that only frame the body.
func headersOf(r *http.Request) map[string]string {
	h := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		if name != "Content-Length" && name != "Transfer-Encoding" && len(values) > 0 {
			h[strings.ToLower(name)] = values[len(values)-1]
		}
	}
	return h
}
