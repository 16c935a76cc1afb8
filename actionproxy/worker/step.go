package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
)

// Builtins are the actions that are part of the proxy, by name: code that is the line weft:NAME.
func (w *Worker) Builtins() map[string]actionproxy.Builtin {
	return map[string]actionproxy.Builtin{
		"conductor": builtin(w.conduct),
		"ingress":   builtin(w.ingress),
		"step":      builtin(w.step),
		"source":    needsLease("source"),
		"sink":      needsLease("sink"),
	}
}

// builtin makes a function an action. Its error is the action's: {"error": …} with status 200.
type builtin func(ctx context.Context, req *actionproxy.Request) (json.RawMessage, error)

func (b builtin) Run(ctx context.Context, req *actionproxy.Request) actionproxy.Reply {
	latest, cancel := latestAnswer(ctx, req.Deadline)
	defer cancel()
	result, err := b(latest, req)
	if err != nil {
		return errorReply(http.StatusOK, err.Error())
	}
	return actionproxy.Reply{Status: http.StatusOK, Body: result}
}

// conduct plays the conductor action. An event goes in by this very activation: a component would cost
// one more, and another of the conductor after it.
func (w *Worker) conduct(ctx context.Context, req *actionproxy.Request) (json.RawMessage, error) {
	name, event := conductor.EventOf(req.Value)
	if name == "" {
		return conductor.Conduct(req.Value, req.Namespace), nil
	}
	result, failed, err := w.gate.call(ctx, req, name, event)
	if err == nil && !failed {
		result = conductor.ResultOf(result)
	}
	return result, err
}

// ingress is an action of its own for a pipeline's events: p.stages/ingress, for sequences, rules and
// whoever has parameters that the conductor action keeps for itself.
func (w *Worker) ingress(ctx context.Context, req *actionproxy.Request) (json.RawMessage, error) {
	parts := strings.Split(req.ActionName, "/") // "", namespace, package, name
	name, ok := "", false
	if len(parts) == 4 {
		name, ok = strings.CutSuffix(parts[2], ".stages")
	}
	if !ok {
		return nil, fmt.Errorf("action %s is in no package of a pipeline's stages: deploy it with weft deploy", req.ActionName)
	}
	result, _, err := w.gate.call(ctx, req, name, req.Value)
	return result, err
}

// needsLease is what a source's or a sink's action answers to everybody but a pipeline.
func needsLease(name string) builtin {
	return func(context.Context, *actionproxy.Request) (json.RawMessage, error) {
		return nil, fmt.Errorf("this action is a pipeline's %s: it does nothing without a lease; start the pipeline", name)
	}
}

// step is a component of the conductor action's composition: the hook does what it says.
func (w *Worker) step(ctx context.Context, req *actionproxy.Request) (json.RawMessage, error) {
	var s control.Step
	if err := json.Unmarshal(req.Value, &s); err != nil {
		return nil, fmt.Errorf("read the step's parameters: %w", err)
	}
	if s.Step == "" {
		return nil, fmt.Errorf("this action is a step of a pipeline's conductor action: invoke that one")
	}
	s.Namespace, s.APIKey = req.Namespace, req.APIKey
	if s.Name == "" && s.Pipeline != nil {
		s.Name = s.Pipeline.Name
	}
	var reply control.StepReply
	err := w.ask(ctx, hookPatience, control.TypeStep, s, &reply)
	for asks(s.Step) && errors.Is(err, control.ErrClosed) && ctx.Err() == nil { // a hook that died is soon back
		err = w.ask(ctx, hookPatience, control.TypeStep, s, &reply)
	}
	var refused *control.RemoteError
	if errors.As(err, &refused) { // the hook's words say all, to a user who knows nothing of hooks
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	return reply.Result, nil
}

// asks reports whether a step changes nothing, so that it can be done again when its answer was lost.
func asks(step string) bool { return step == "await" || step == "report" || step == "status" }
