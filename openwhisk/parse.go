package openwhisk

import (
	"encoding/json"
	"fmt"
)

// InvokerRecord is what a listener keeps of a message on an invoker topic:
// no keys, no parameters. On a deployment with schedulers the topic carries
// creation and deletion orders instead, told by CreationID and Order.
type InvokerRecord struct {
	Order        Order
	ActivationID string // of an activation
	CreationID   string // of a container creation
	Action       ActionRef
	Namespace    string // the invoking namespace's name
	TransID      string
	Blocking     bool
}

// Order is what a message on an invoker topic asks for.
type Order int

// The orders.
const (
	OrderActivation        Order = iota // run an activation
	OrderContainerCreation              // create or resume a container
	OrderContainerDeletion              // let an action's containers go
)

// ParseInvoker reads a message of an invoker topic, in both dialects. It
// returns ErrMessage, wrapped, for anything that is neither.
func ParseInvoker(b []byte) (InvokerRecord, error) {
	var m struct {
		ActivationID string    `json:"activationId"`
		CreationID   string    `json:"creationId"`
		Action       ActionRef `json:"action"`
		TransID      TransID   `json:"transid"`
		Blocking     bool      `json:"blocking"`
		User         struct {
			Namespace struct {
				Name string `json:"name"`
			} `json:"namespace"`
		} `json:"user"`
		InvocationNamespace string `json:"invocationNamespace"`
	}
	if err := decode(b, &m); err != nil {
		return InvokerRecord{}, err
	}
	r := InvokerRecord{ActivationID: m.ActivationID, CreationID: m.CreationID, Action: m.Action,
		Namespace: m.User.Namespace.Name, TransID: m.TransID.ID, Blocking: m.Blocking}
	switch {
	case m.CreationID != "":
		r.Order, r.Namespace = OrderContainerCreation, m.InvocationNamespace
	case m.ActivationID != "":
		r.Order = OrderActivation
	case m.InvocationNamespace != "":
		r.Order, r.Namespace = OrderContainerDeletion, m.InvocationNamespace
	default:
		return InvokerRecord{}, fmt.Errorf("%w: neither activationId nor creationId nor invocationNamespace", ErrMessage)
	}
	if r.Action.Name == "" {
		return InvokerRecord{}, fmt.Errorf("%w: no action", ErrMessage)
	}
	return r, nil
}

// AckRecord is what a listener keeps of an ack: no result.
type AckRecord struct {
	ActivationID  string
	Completed     bool // the slot is free
	IsSystemError bool
	Invoker       int         // the invoker's index; -1 if the ack names none
	StatusCode    *StatusCode // nil if the ack does not carry the activation
}

// ParseAckRecord reads a message of a completed topic without keeping the
// result or the logs.
func ParseAckRecord(b []byte) (AckRecord, error) {
	a, err := ParseAck(b)
	if err != nil {
		return AckRecord{}, err
	}
	r := AckRecord{ActivationID: a.ActivationID, Completed: a.Completed(), IsSystemError: a.IsSystemError, Invoker: -1}
	if a.Instance != nil {
		r.Invoker = a.Instance.Instance
	}
	if a.Activation != nil {
		code := a.Activation.Response.StatusCode
		r.StatusCode = &code
	}
	return r, nil
}

// ParseActivation reads a whole ActivationMessage, with key and parameters:
// only for the invoker that runs it.
func ParseActivation(b []byte) (ActivationMessage, error) {
	var m ActivationMessage
	if err := decode(b, &m); err != nil {
		return ActivationMessage{}, err
	}
	if m.ActivationID == "" || m.Action.Name == "" {
		return ActivationMessage{}, fmt.Errorf("%w: no activationId or action", ErrMessage)
	}
	return m, nil
}

// ParsePing reads a message of the health topic.
func ParsePing(b []byte) (PingMessage, error) {
	var m PingMessage
	if err := decode(b, &m); err != nil {
		return PingMessage{}, err
	}
	if m.Name.InstanceType != "invoker" {
		return PingMessage{}, fmt.Errorf("%w: a ping of no invoker", ErrMessage)
	}
	return m, nil
}

// ParseCacheInvalidation reads a message of the cacheInvalidation topic.
func ParseCacheInvalidation(b []byte) (CacheInvalidation, error) {
	var m CacheInvalidation
	if err := decode(b, &m); err != nil {
		return CacheInvalidation{}, err
	}
	if m.Key.MainID == "" {
		return CacheInvalidation{}, fmt.Errorf("%w: no key", ErrMessage)
	}
	return m, nil
}

func decode(b []byte, v any) error {
	if len(b) > MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are read", ErrMessage, len(b), MaxMessageBytes)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMessage, err)
	}
	return nil
}
