package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// InvokeOptions say how an action is called.
type InvokeOptions struct {
	Blocking bool // wait for the end, at most 60 s
	Result   bool // with Blocking: answer the result only, without the record
}

// Invocation is the platform's answer to a call.
type Invocation struct {
	ActivationID string
	Status       int             // HTTP: 200, 202 (still running), 502 or 500 (it failed)
	Activation   *Activation     // the record; nil with Result, for an array and for 202
	Result       json.RawMessage // what the action answered; nil for 202
}

// Invoke calls an action with params, which marshal to a JSON object (nil:
// none). A failed activation is an Invocation with its status, not an error;
// an *APIError says that no activation came about.
func (c *Client) Invoke(ctx context.Context, name string, params any, o InvokeOptions) (Invocation, error) {
	p, err := c.entity(name, "actions")
	if err != nil {
		return Invocation{}, err
	}
	q := url.Values{"blocking": {strconv.FormatBool(o.Blocking)}, "result": {strconv.FormatBool(o.Result)}}
	body, err := json.Marshal(params)
	if err != nil {
		return Invocation{}, fmt.Errorf("openwhisk: encode the parameters of %s: %w", name, err)
	}
	if string(body) == "null" {
		body = []byte("{}")
	}
	a, err := c.do(ctx, "POST", p, q, json.RawMessage(body))
	if err != nil {
		return Invocation{}, err
	}
	if a.status == http.StatusAccepted {
		var body struct {
			ActivationID string `json:"activationId"`
		}
		if err := json.Unmarshal(a.body, &body); err != nil {
			return Invocation{}, fmt.Errorf("openwhisk: decode the answer to POST %s: %w", p, err)
		}
		return Invocation{ActivationID: body.ActivationID, Status: a.status}, nil
	}
	if a.activationID == "" {
		return Invocation{}, apiError("POST", p, a)
	}
	inv := Invocation{ActivationID: a.activationID, Status: a.status, Result: a.body}
	if o.Result || len(a.body) == 0 || a.body[0] == '[' {
		return inv, nil
	}
	inv.Activation = new(Activation)
	if err := json.Unmarshal(a.body, inv.Activation); err != nil {
		return Invocation{}, fmt.Errorf("openwhisk: decode activation %s: %w", a.activationID, err)
	}
	inv.Result = inv.Activation.Response.Result
	return inv, nil
}

// GetActivation returns the record of a finished activation; while it runs
// the platform answers 404.
func (c *Client) GetActivation(ctx context.Context, id string) (Activation, error) {
	var out Activation
	return out, c.call(ctx, "GET", c.collection("", "activations")+"/"+url.PathEscape(id), nil, nil, &out)
}

// ActivationResult returns how a finished activation answered.
func (c *Client) ActivationResult(ctx context.Context, id string) (Response, error) {
	var out Response
	return out, c.call(ctx, "GET", c.collection("", "activations")+"/"+url.PathEscape(id)+"/result", nil, nil, &out)
}

// ActivationLogs returns the log lines of a finished activation.
func (c *Client) ActivationLogs(ctx context.Context, id string) ([]string, error) {
	var out struct {
		Logs []string `json:"logs"`
	}
	return out.Logs, c.call(ctx, "GET", c.collection("", "activations")+"/"+url.PathEscape(id)+"/logs", nil, nil, &out)
}

// ListActivationsOptions choose activations, newest first.
type ListActivationsOptions struct {
	ListOptions
	Name  string // "action" or "pkg/action"; empty: all
	Since int64  // epoch ms, inclusive; 0: from the beginning
	Upto  int64  // epoch ms, inclusive; 0: to the end
}

// ListActivations returns whole records; logs and results are in them.
func (c *Client) ListActivations(ctx context.Context, o ListActivationsOptions) ([]Activation, error) {
	q := o.query()
	q.Set("docs", "true")
	if o.Name != "" {
		q.Set("name", o.Name)
	}
	if o.Since > 0 {
		q.Set("since", strconv.FormatInt(o.Since, 10))
	}
	if o.Upto > 0 {
		q.Set("upto", strconv.FormatInt(o.Upto, 10))
	}
	var out []Activation
	return out, c.call(ctx, "GET", c.collection("", "activations"), q, nil, &out)
}
