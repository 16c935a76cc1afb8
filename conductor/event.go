package conductor

import (
	"encoding/json"

	"github.com/weft-stream/weft/pipeline"
)

// EventOf takes the event out of what the conductor action of a pipeline with an ingress was invoked with:
// without "op", all parameters but the bound one are the event, and the pipeline stands in for a sequence.
// The name is "" when this is no event, but for Conduct.
func EventOf(value json.RawMessage) (name string, event json.RawMessage) {
	var in map[string]json.RawMessage
	if json.Unmarshal(value, &in) != nil || in["op"] != nil || in[stateKey] != nil {
		return "", nil
	}
	var p pipeline.Pipeline
	if json.Unmarshal(in["pipeline"], &p) != nil || p.Ingress() == nil {
		return "", nil
	}
	delete(in, "pipeline")
	event, err := json.Marshal(in)
	if err != nil {
		return "", nil
	}
	return p.Name, event
}

// ResultOf ends a composition with the result of an event. Whatever fields that has are no orders to the
// platform.
func ResultOf(result json.RawMessage) json.RawMessage {
	return answer(map[string]any{"params": result})
}

// noIngress adds why no op is no event.
func noIngress(in map[string]json.RawMessage) string {
	if in["op"] != nil {
		return ""
	}
	return "; without op this would be an event, but no source of the pipeline takes any by invocation (source: {ingress: {}})"
}
