package actionproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/weft-stream/weft/actionproxy/process"
)

// maxRun bounds the body of a /run, in bytes: the platform's 1 MiB of parameters, and what operators
// raise it to.
const maxRun = 8 << 20

func (p *Proxy) serveRun(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	reply := p.answer(w, r)
	p.cfg.Log("run", "status", reply.Status, "took", time.Since(began))
	reply.send(w)
}

func (p *Proxy) answer(w http.ResponseWriter, r *http.Request) Reply {
	body, err := readBody(w, r, maxRun)
	if err != nil {
		return Failure(http.StatusBadRequest, "Error reading request body: %v", err)
	}
	fn := p.function.Load()
	switch {
	case fn == nil:
		return Failure(http.StatusInternalServerError, "no action defined yet")
	case asksForLease(body):
		return p.lease(r.Context(), fn, body)
	}
	return p.activate(r.Context(), fn, body)
}

// asksForLease looks for the parameter __weft. Most activations cost only the first look.
func asksForLease(body []byte) bool {
	return bytes.Contains(body, []byte(`"__weft"`)) && gjson.GetBytes(body, "value.__weft").Exists()
}

// lease is an activation that holds this container for a pipeline. What the function prints meanwhile
// is the worker's matter.
func (p *Proxy) lease(ctx context.Context, fn *Function, body []byte) Reply {
	defer p.endLog()
	if p.cfg.Leases == nil {
		return Failure(http.StatusOK, "this container knows no Weft hook, so that it can't work in a pipeline; "+
			"set WEFT_HOOK in the platform's extra environment of action containers")
	}
	req, err := parseRequest(body)
	if err != nil {
		return Failure(http.StatusOK, "%v", err)
	}
	return p.cfg.Leases.Lease(ctx, req, fn)
}

// activate is an ordinary activation. They happen one after the other, up to the line that ends the
// log, so that each has its own log.
func (p *Proxy) activate(ctx context.Context, fn *Function, body []byte) Reply {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Failure(http.StatusBadRequest, "wait for earlier activations: %v", context.Cause(ctx))
	}
	if p.cfg.Leases != nil {
		if holder := p.cfg.Leases.Holding(); holder != "" {
			defer p.endLog()
			return Failure(http.StatusOK, "held by pipeline %s", holder)
		}
	}
	if fn.Builtin != "" {
		return p.runBuiltin(ctx, fn.Builtin, body)
	}
	proc := fn.Process()
	select {
	case <-proc.Done():
		return p.runDead(proc)
	default:
	}
	defer p.endLog()
	defer proc.Drain()
	return p.exchange(ctx, proc, body)
}

func (p *Proxy) runBuiltin(ctx context.Context, name string, body []byte) Reply {
	defer p.endLog()
	req, err := parseRequest(body)
	if err != nil {
		return Failure(http.StatusBadRequest, "%v", err)
	}
	return p.cfg.Builtins[name].Run(ctx, req)
}

// runDead answers for a process that ended before the activation.
func (p *Proxy) runDead(proc *process.Process) Reply {
	if p.reported.Load() == int64(proc.PID()) {
		return Failure(http.StatusInternalServerError, "no action defined yet")
	}
	return Failure(http.StatusInternalServerError, "command exited")
}

func (p *Proxy) exchange(ctx context.Context, proc *process.Process, body []byte) Reply {
	result, err := proc.Exchange(ctx, oneLine(body))
	switch {
	case errors.Is(err, process.ErrExited):
		p.reported.Store(int64(proc.PID()))
		fmt.Fprintln(p.cfg.Stderr, "weft: the function's process ended:", proc.ExitStatus())
		return Failure(http.StatusBadRequest, "command exited")
	case errors.Is(err, process.ErrTooLong):
		return Failure(http.StatusOK, "%v", err)
	case err != nil:
		return Failure(http.StatusBadRequest, "%v", err)
	}
	if !isResult(result) {
		return Failure(http.StatusBadGateway, "The action did not return a dictionary or array.")
	}
	return Reply{Status: http.StatusOK, Body: result}
}

// oneLine takes the newlines out of a body, in place. In JSON they stand only between values.
func oneLine(body []byte) []byte {
	if bytes.IndexByte(body, '\n') < 0 {
		return body
	}
	out := body[:0]
	for len(body) > 0 {
		var part []byte
		part, body, _ = bytes.Cut(body, []byte("\n"))
		out = append(out, part...)
	}
	return out
}

// isResult reports whether a line is a JSON object or array.
func isResult(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r")
	return len(line) > 0 && (line[0] == '{' || line[0] == '[') && gjson.ValidBytes(line)
}

// parseRequest decodes the body of a /run.
func parseRequest(body []byte) (*Request, error) {
	var in struct {
		Value         json.RawMessage `json:"value"`
		Namespace     string          `json:"namespace"`
		ActionName    string          `json:"action_name"`
		ActionVersion string          `json:"action_version"`
		ActivationID  string          `json:"activation_id"`
		TransactionID string          `json:"transaction_id"`
		APIKey        string          `json:"api_key"`
		Deadline      millis          `json:"deadline"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("decode activation: %w", err)
	}
	if in.Value == nil {
		in.Value = json.RawMessage("{}")
	}
	return &Request{Value: in.Value, Namespace: in.Namespace, ActionName: in.ActionName, ActionVersion: in.ActionVersion,
		ActivationID: in.ActivationID, TransactionID: in.TransactionID, APIKey: in.APIKey,
		Deadline: in.Deadline.Time, Raw: body}, nil
}
