package openwhisk

import (
	"bytes"
	"encoding/json"
)

// KeyValue is one parameter or annotation. Value is any JSON value.
type KeyValue struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
	Init  bool            `json:"init,omitempty"` // handed over at /init, as an environment variable
}

// KeyValues is an ordered list of parameters or annotations; keys are unique.
type KeyValues []KeyValue

// KV makes a KeyValue of a Go value. It panics if v has no JSON form, which
// is a mistake of the caller.
func KV(key string, v any) KeyValue {
	b, err := json.Marshal(v)
	if err != nil {
		panic("openwhisk: KV " + key + ": " + err.Error())
	}
	return KeyValue{Key: key, Value: b}
}

// Get returns the value of key, or nil.
func (kv KeyValues) Get(key string) json.RawMessage {
	for _, e := range kv {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// Truthy reports whether key is there with a value that OpenWhisk holds for
// true: anything but false, null, 0, "" and an absent key.
func (kv KeyValues) Truthy(key string) bool {
	v := bytes.TrimSpace(kv.Get(key))
	switch string(v) {
	case "", "false", "null", "0", `""`:
		return false
	}
	return true
}

// With returns a copy with the entries of more set: a known key keeps its
// place and gets the new value, a new key is appended.
func (kv KeyValues) With(more ...KeyValue) KeyValues {
	out := append(make(KeyValues, 0, len(kv)+len(more)), kv...)
next:
	for _, m := range more {
		for i := range out {
			if out[i].Key == m.Key {
				out[i] = m
				continue next
			}
		}
		out = append(out, m)
	}
	return out
}

// Without returns a copy that lacks the keys.
func (kv KeyValues) Without(keys ...string) KeyValues {
	out := make(KeyValues, 0, len(kv))
next:
	for _, e := range kv {
		for _, k := range keys {
			if e.Key == k {
				continue next
			}
		}
		out = append(out, e)
	}
	return out
}

// Map returns the entries as the object that an action is called with.
func (kv KeyValues) Map() map[string]json.RawMessage {
	m := make(map[string]json.RawMessage, len(kv))
	for _, e := range kv {
		m[e.Key] = e.Value
	}
	return m
}

// MarshalJSON writes an empty list as [] and never as null.
func (kv KeyValues) MarshalJSON() ([]byte, error) {
	if len(kv) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]KeyValue(kv))
}
