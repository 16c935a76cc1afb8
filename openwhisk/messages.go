package openwhisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Topics of a deployment with one controller and one invoker. Others end in
// their own index.
const (
	TopicInvoker0          = "invoker0"
	TopicCompleted0        = "completed0"
	TopicHealth            = "health"
	TopicEvents            = "events"
	TopicCacheInvalidation = "cacheInvalidation"
)

// MaxMessageBytes bounds every message: the platform's payload limit plus its
// overhead, with room for what a newer version adds.
const MaxMessageBytes = 4 << 20

// ErrMessage reports a Kafka message that is not what its topic carries.
var ErrMessage = errors.New("openwhisk: not a message of this topic")

// TransID is a transaction: ["id", epoch ms] with its parent behind, if any.
type TransID struct {
	ID     string
	Start  int64 // epoch ms
	Parent *TransID
}

// MarshalJSON writes the array form.
func (t TransID) MarshalJSON() ([]byte, error) {
	if t.Parent == nil {
		return json.Marshal([]any{t.ID, t.Start})
	}
	return json.Marshal([]any{t.ID, t.Start, t.Parent})
}

// UnmarshalJSON reads the array form; a flag between start and parent, which
// asks for extra logging, is skipped.
func (t *TransID) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) < 2 {
		return fmt.Errorf("%w: transid has %d parts", ErrMessage, len(parts))
	}
	*t = TransID{}
	if err := json.Unmarshal(parts[0], &t.ID); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[1], &t.Start); err != nil {
		return err
	}
	for _, p := range parts[2:] {
		if bytes.HasPrefix(p, []byte("[")) {
			t.Parent = new(TransID)
			return json.Unmarshal(p, t.Parent)
		}
	}
	return nil
}

// ActionRef names an action in a message. Path is "ns" or "ns/pkg".
type ActionRef struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Binding string `json:"binding,omitempty"` // the package binding it was named by, "ns/binding"
}

// User is the caller in a message, with the key in clear: never log it.
type User struct {
	AuthKey struct {
		APIKey string `json:"api_key"` // "uuid:key"
	} `json:"authkey"`
	Limits    struct{} `json:"limits"`
	Namespace struct {
		Name string `json:"name"`
		UUID string `json:"uuid"`
	} `json:"namespace"`
	Rights  []string `json:"rights"`
	Subject string   `json:"subject"`
}

// ControllerID names a controller in a message.
type ControllerID struct {
	AsString     string `json:"asString"`
	InstanceType string `json:"instanceType"` // "controller"
}

// ActivationMessage asks an invoker for one run. Only the platform itself
// needs it whole; a listener uses ParseInvoker.
type ActivationMessage struct {
	Action              ActionRef       `json:"action"`
	ActivationID        string          `json:"activationId"`
	Blocking            bool            `json:"blocking"`
	Cause               string          `json:"cause,omitempty"`
	Content             json.RawMessage `json:"content,omitempty"` // the parameters
	InitArgs            []string        `json:"initArgs"`
	LockedArgs          struct{}        `json:"lockedArgs"`
	Revision            *string         `json:"revision"`
	RootControllerIndex ControllerID    `json:"rootControllerIndex"`
	TransID             TransID         `json:"transid"`
	User                User            `json:"user"`
}

// InstanceID names an invoker in a message.
type InstanceID struct {
	DedicatedNamespaces []string `json:"dedicatedNamespaces"`
	DisplayedName       string   `json:"displayedName"`
	Instance            int      `json:"instance"`
	InstanceType        string   `json:"instanceType"` // "invoker"
	Tags                []string `json:"tags"`
	UniqueName          string   `json:"uniqueName"`
	UserMemory          string   `json:"userMemory"` // "8589934592 B"
}

// PingMessage is an invoker's sign of life, once a second.
type PingMessage struct {
	IsEnabled bool       `json:"isEnabled"`
	Name      InstanceID `json:"name"`
}

// CacheInvalidation says that an entity changed, not how.
type CacheInvalidation struct {
	InstanceID string `json:"instanceId"` // "controller0"
	Key        struct {
		MainID string `json:"mainId"` // "ns/action"
	} `json:"key"`
}
