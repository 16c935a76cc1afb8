package worker

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// keyPath is where a keyed edge finds an event's key, as gjson wants it.
type keyPath struct {
	text  string // as the spec has it
	gjson string
}

func newKeyPath(path string) keyPath {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		parts[i] = gjson.Escape(p)
	}
	return keyPath{text: path, gjson: strings.Join(parts, ".")}
}

// of gives an event's key: a string's characters, and the JSON text of anything else.
func (k keyPath) of(payload []byte) ([]byte, error) {
	v := gjson.GetBytes(payload, k.gjson)
	switch {
	case !v.Exists():
		return nil, fmt.Errorf("the event has no field %q to take its key from", k.text)
	case v.Type == gjson.Null:
		return nil, fmt.Errorf("the event's field %q is null and can't be its key", k.text)
	}
	return []byte(v.String()), nil
}
