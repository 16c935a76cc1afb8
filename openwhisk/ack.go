package openwhisk

import (
	"encoding/json"
	"fmt"
)

// Ack is a message of a completed topic. Which parts are there tells the
// three kinds apart:
//
//	Combined    response, instance              result and freed slot at once
//	Completion  activationId, instance          the slot is free, logs are in
//	Result      response                        the answer for a blocking caller
//
// Response is a whole activation, or its id as a string where the answer was
// not waited for or is too large.
type Ack struct {
	ActivationID  string // always set after ParseAck
	Activation    *Activation
	HasResponse   bool
	IsSystemError bool
	Instance      *InstanceID // nil in a Result
	TransID       TransID
}

// Completed reports whether the ack frees the slot: Combined or Completion.
func (a Ack) Completed() bool { return a.Instance != nil }

type ackWire struct {
	ActivationID  string          `json:"activationId,omitempty"`
	Instance      *InstanceID     `json:"instance,omitempty"`
	IsSystemError *bool           `json:"isSystemError,omitempty"`
	Response      json.RawMessage `json:"response,omitempty"`
	TransID       TransID         `json:"transid"`
}

// ackActivation is an activation as Kafka carries it: the outcome a number.
type ackActivation struct {
	*Activation
	Response ackResponse `json:"response"`
}

type ackResponse struct {
	Result     json.RawMessage `json:"result,omitempty"`
	Size       *int            `json:"size,omitempty"`
	StatusCode StatusCode      `json:"statusCode"`
}

// MarshalJSON writes the kind that the set parts say. With HasResponse and no
// Activation the response is the id.
func (a Ack) MarshalJSON() ([]byte, error) {
	w := ackWire{Instance: a.Instance, TransID: a.TransID}
	if a.Instance != nil {
		w.IsSystemError = &a.IsSystemError
	}
	var err error
	switch {
	case a.HasResponse && a.Activation != nil:
		r := a.Activation.Response
		w.Response, err = marshal(ackActivation{a.Activation, ackResponse{r.Result, r.Size, r.StatusCode}})
	case a.HasResponse:
		w.Response, err = marshal(a.ActivationID)
	default:
		w.ActivationID = a.ActivationID
	}
	if err != nil {
		return nil, err
	}
	return marshal(w)
}

// ParseAck reads an ack with its activation: for the controller that waits
// for it. A listener uses ParseAckRecord, which keeps no results.
func ParseAck(b []byte) (Ack, error) {
	var w ackWire
	if err := decode(b, &w); err != nil {
		return Ack{}, err
	}
	a := Ack{ActivationID: w.ActivationID, Instance: w.Instance, TransID: w.TransID, HasResponse: len(w.Response) > 0}
	if w.IsSystemError != nil {
		a.IsSystemError = *w.IsSystemError
	}
	if a.HasResponse && w.Response[0] == '{' {
		a.Activation = new(Activation)
		if err := json.Unmarshal(w.Response, a.Activation); err != nil {
			return Ack{}, fmt.Errorf("%w: %v", ErrMessage, err)
		}
		a.ActivationID = a.Activation.ActivationID
	} else if a.HasResponse {
		if err := json.Unmarshal(w.Response, &a.ActivationID); err != nil {
			return Ack{}, fmt.Errorf("%w: %v", ErrMessage, err)
		}
	}
	if a.ActivationID == "" {
		return Ack{}, fmt.Errorf("%w: ack without an activation id", ErrMessage)
	}
	return a, nil
}
