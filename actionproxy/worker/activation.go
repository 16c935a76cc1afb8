package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/weft-stream/weft/quicmesh/outlet"
)

// activationLine writes what the stock proxy would write to an action for one event: value is the
// lease's parameters overlaid by the event, the rest is of the lease's activation.
type activationLine struct {
	params []param
	rest   []byte // `,"api_key":…,"deadline":"` with all that events share
}

// param is one of the lease's own parameters, its name as a JSON string.
type param struct {
	name   string
	member []byte // `"name":value,`
}

func newActivationLine(r *leaseRequest) *activationLine {
	a := &activationLine{}
	for _, name := range slices.Sorted(maps.Keys(r.params)) {
		member := append(outlet.AppendText(nil, []byte(name)), ':')
		a.params = append(a.params, param{name, append(append(member, oneLine(r.params[name])...), ',')})
	}
	for _, f := range [][2]string{
		{"namespace", r.Namespace}, {"action_name", r.ActionName}, {"action_version", r.ActionVersion},
		{"activation_id", r.ActivationID}, {"transaction_id", r.TransactionID}, {"api_key", r.APIKey},
	} {
		if f[1] != "" {
			a.rest = append(append(append(a.rest, `,"`...), f[0]...), `":`...)
			a.rest = outlet.AppendText(a.rest, []byte(f[1]))
		}
	}
	a.rest = append(a.rest, `,"deadline":"`...)
	return a
}

// append writes the line for event, a JSON object, without a newline.
func (a *activationLine) append(b, event []byte, deadline time.Time) []byte {
	event = oneLine(event)
	b = append(b, `{"value":`...)
	if len(a.params) > 0 {
		b = append(b, '{')
		fields := gjson.ParseBytes(event)
		for _, p := range a.params {
			if !has(fields, p.name) {
				b = append(b, p.member...)
			}
		}
		if body := bytes.TrimLeft(event[1:], " \t\r"); body[0] == '}' {
			b = bytes.TrimSuffix(b, []byte{','}) // no field follows
		}
		event = event[1:]
	}
	b = append(append(b, event...), a.rest...)
	b = strconv.AppendInt(b, deadline.UnixMilli(), 10)
	return append(b, `"}`...)
}

func has(object gjson.Result, name string) (found bool) {
	object.ForEach(func(key, _ gjson.Result) bool {
		found = key.String() == name
		return !found
	})
	return found
}

// oneLine removes the line breaks that JSON may have between its tokens.
func oneLine(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b // not JSON: callers have checked
	}
	return out.Bytes()
}

// isObject checks that b is one JSON object.
func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

// results reads an action's answer: an object is one event, an array several, {} none. failure is the
// cause when it is an error, or is no answer at all.
func results(answer []byte) (events [][]byte, failure json.RawMessage) {
	if !json.Valid(answer) {
		return nil, outlet.ErrorText(fmt.Sprintf("the function's answer is not JSON: %.200q", answer))
	}
	v := gjson.ParseBytes(answer)
	if !v.IsArray() {
		return appendResult(nil, v)
	}
	v.ForEach(func(_, element gjson.Result) bool {
		events, failure = appendResult(events, element)
		return failure == nil
	})
	if failure != nil {
		return nil, failure
	}
	return events, nil
}

func appendResult(events [][]byte, v gjson.Result) ([][]byte, json.RawMessage) {
	if !v.IsObject() {
		return nil, outlet.ErrorText(fmt.Sprintf("the function's result is no JSON object: %.200s", v.Raw))
	}
	if cause := v.Get("error"); cause.Exists() {
		return nil, json.RawMessage(cause.Raw)
	}
	empty := true
	v.ForEach(func(_, _ gjson.Result) bool { empty = false; return false })
	if !empty {
		events = append(events, []byte(v.Raw))
	}
	return events, nil
}
