package localwhisk

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// invoke answers POST …/actions/name.
func (s *rest) invoke(r *request, n openwhisk.Name) error {
	b, err := s.payload(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	wait, err := s.wait(q.Get("timeout"))
	if err != nil {
		return err
	}
	cl, err := s.p.control.resolve(n, b)
	if err != nil {
		return err
	}
	if err := checkFinal(cl, b); err != nil {
		return err
	}
	cl.blocking, cl.trans = q.Get("blocking") == "true", r.trans
	run, err := s.p.control.top(cl)
	if err != nil {
		return err
	}
	r.cors()
	r.w.Header().Set("X-Openwhisk-Activation-Id", run.id)
	if !cl.blocking {
		r.write(202, map[string]string{"activationId": run.id})
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case a := <-run.done:
		r.write(httpStatus(a.Response.StatusCode), invocationBody(a, q.Get("result") == "true"))
		return nil
	case <-t.C:
	case <-r.Context().Done():
	case <-s.p.ctx.Done():
	}
	r.write(202, map[string]string{"activationId": run.id})
	return nil
}

// payload reads a JSON object; no body is an empty one.
func (s *rest) payload(r *request) ([]byte, error) {
	b, err := r.body(s.p.cfg.Limits.PayloadBytes)
	if err != nil {
		return nil, err
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return []byte("{}"), nil
	}
	var v json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, malformed(jsonTrouble(b, err))
	}
	if firstByte(b) != '{' {
		return nil, malformed("JSON object expected")
	}
	return b, nil
}

// wait reads the timeout parameter, in ms.
func (s *rest) wait(text string) (time.Duration, error) {
	if text == "" {
		return s.p.cfg.BlockingWait, nil
	}
	ms, err := strconv.Atoi(text)
	if err != nil || ms < 1 || time.Duration(ms)*time.Millisecond > s.p.cfg.BlockingWait {
		return 0, malformedQuery("timeout",
			fmt.Sprintf("Timeout must be number of milliseconds up to %d.", s.p.cfg.BlockingWait.Milliseconds()))
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// checkFinal turns away a call that sets what an action declares final.
func checkFinal(cl call, body []byte) error {
	for key := range objectOf(body) {
		if cl.fixed(key) {
			return errParameters
		}
	}
	return nil
}

var errParameters = fail(400, "Request defines parameters that are not allowed (e.g., reserved properties).")

func httpStatus(code openwhisk.StatusCode) int {
	switch code {
	case openwhisk.StatusSuccess:
		return 200
	case openwhisk.StatusWhiskError:
		return 500
	}
	return 502
}

// invocationBody is the record, or the result alone if asked for or an array.
func invocationBody(a *openwhisk.Activation, result bool) any {
	if (result || firstByte(a.Response.Result) == '[') && a.Response.Result != nil {
		return a.Response.Result
	}
	return a
}
