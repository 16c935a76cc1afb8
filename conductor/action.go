package conductor

import (
	"encoding/json"
	"fmt"

	"github.com/weft-stream/weft/pipeline"
)

// stateKey holds the composition's state in what the conductor action is invoked with again.
const stateKey = "$weft"

// maxComponents is OpenWhisk's limit of one composition (its sequence length), unless an operator
// has changed it.
const maxComponents = 50

// maxAwaits leaves room for plan and report, and for one await to be repeated.
const maxAwaits = maxComponents - 3

// Conduct plays the conductor action: OpenWhisk invokes it with what the user gave, and again with
// the result of each component it names, until it names none.
//
// value holds the bound parameter "pipeline" (JSON of a pipeline.Pipeline) and "op": start, stop, status,
// scale (with "replicas", numbers by stage), restart (with "stage", or of all) or update (take over what was
// deployed since the start, as far as that can be). A start is the components /namespace/NAME.steps/plan, await-STAGE from the sinks to the
// sources, report; the others are one component. The composition's result is the last one's. A
// component's error ends it. Conduct keeps nothing between calls; its errors are {"error": text}.
func Conduct(value json.RawMessage, namespace string) json.RawMessage {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(value, &in); err != nil || in == nil {
		return answer(map[string]any{"error": "the conductor's parameters are not a JSON object"})
	}
	raw, again := in[stateKey]
	if !again {
		return plan(in, namespace)
	}
	var c composition
	if err := json.Unmarshal(raw, &c); err != nil || len(c.Steps) == 0 {
		return answer(map[string]any{"error": "the composition's state " + stateKey + " is not of this conductor"})
	}
	return c.goOn(in, namespace)
}

// composition is what is still to be done: Steps[0] is under way.
type composition struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
	Spare int    `json:"spare"` // awaits that may be repeated
}

// step is a component and its parameters.
type step struct {
	Step  string `json:"step"`
	Stage string `json:"stage,omitempty"`
	// Replicas, with scale: of the stages that change.
	Replicas map[string]int `json:"replicas,omitempty"`
	// NoHeadroom, with start: don't insist on room for repairs.
	NoHeadroom bool `json:"noHeadroom,omitempty"`
	// WaitMS, with start: for how long the plan looks on while the workers' containers come. The
	// components after it start containers too, which would only slow those down.
	WaitMS int64 `json:"waitMs,omitempty"`
}

// planWaitMS is how long a plan waits for containers: longer than cold ones take where there is room.
const planWaitMS = 10_000

// component is the name of the step's action within the pipeline's package of steps.
func (s step) component() string {
	switch s.Step {
	case "start":
		return "plan"
	case "await":
		return "await-" + s.Stage
	}
	return s.Step
}

// plan answers the user's own call.
func plan(in map[string]json.RawMessage, namespace string) json.RawMessage {
	var p pipeline.Pipeline
	if err := json.Unmarshal(in["pipeline"], &p); err != nil || p.Name == "" || len(p.Stages) == 0 {
		return answer(map[string]any{"error": `the bound parameter "pipeline" is missing or not a pipeline: deploy it with weft deploy`})
	}
	c := composition{Name: p.Name}
	switch op := text(in["op"]); op {
	case "start":
		awaits := awaited(&p)
		start := step{Step: "start", WaitMS: planWaitMS}
		_ = json.Unmarshal(in["noHeadroom"], &start.NoHeadroom) // anything but true is false
		c.Steps = append(c.Steps, start)
		for _, stage := range awaits {
			c.Steps = append(c.Steps, step{Step: "await", Stage: stage})
		}
		c.Steps = append(c.Steps, step{Step: "report"})
		c.Spare = maxComponents - len(c.Steps)
	case "stop", "status", "update":
		c.Steps = []step{{Step: op}}
	case "scale":
		s := step{Step: op}
		if err := json.Unmarshal(in["replicas"], &s.Replicas); err != nil || len(s.Replicas) == 0 {
			return answer(map[string]any{"error": fmt.Sprintf(`op scale wants replicas, for instance {"STAGE": 3}, not %s`, orNothing(in["replicas"]))})
		}
		c.Steps = []step{s}
	case "restart":
		c.Steps = []step{{Step: op, Stage: text(in["stage"])}}
	default:
		return answer(map[string]any{"error": fmt.Sprintf("op must be start, stop, status, scale, restart or update, not %s%s", orNothing(in["op"]), noIngress(in))})
	}
	return c.call(namespace)
}

// awaited lists the stages that a start waits for, sinks first: all of them, or where a composition
// can't have that many components, some. A stage is ready when its links are, so that each one that
// is awaited stands for those it leads to; the last source is always among them.
func awaited(p *pipeline.Pipeline) []string {
	all := p.SinksFirst()
	if len(all) <= maxAwaits {
		return all
	}
	out := make([]string, maxAwaits)
	for i := range out {
		out[i] = all[(i+1)*len(all)/maxAwaits-1]
	}
	return out
}

// goOn looks at a component's result and names the next one, or ends the composition with it.
func (c *composition) goOn(in map[string]json.RawMessage, namespace string) json.RawMessage {
	if err, failed := in["error"]; failed {
		return answer(map[string]any{"error": err})
	}
	done := c.Steps[0]
	if done.Step == "await" && string(in["ready"]) == "false" {
		if c.Spare == 0 {
			return answer(map[string]any{"error": fmt.Sprintf("stage %s is not ready yet (%s); the start goes on: weft status %s shows how far it is",
				done.Stage, orNothing(in["waiting"]), c.Name)})
		}
		c.Spare--
		return c.call(namespace)
	}
	if c.Steps = c.Steps[1:]; len(c.Steps) > 0 {
		return c.call(namespace)
	}
	delete(in, stateKey)
	if isPipeline(in["pipeline"]) {
		delete(in, "pipeline") // the bound parameter, not the component's word
	}
	return answer(map[string]any{"params": in})
}

// call names the component of the first step.
func (c *composition) call(namespace string) json.RawMessage {
	s := c.Steps[0]
	return answer(map[string]any{
		"action": fmt.Sprintf("/%s/%s.steps/%s", namespace, c.Name, s.component()),
		"params": s,
		"state":  map[string]any{stateKey: c},
	})
}

func isPipeline(raw json.RawMessage) bool {
	var p struct {
		Stages []json.RawMessage `json:"stages"`
	}
	return json.Unmarshal(raw, &p) == nil && p.Stages != nil
}

// text is a JSON string's, "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) // "" then
	return s
}

func orNothing(raw json.RawMessage) string {
	if raw == nil {
		return "nothing"
	}
	return brief(string(raw))
}

func answer(v map[string]any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`{"error":"the conductor can't encode its answer"}`)
	}
	return out
}
