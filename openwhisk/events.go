package openwhisk

import "encoding/json"

// Event types and the names of metrics on the events topic.
const (
	EventActivation             = "Activation"
	EventMetric                 = "Metric"
	MetricConcurrentInvocations = "ConcurrentInvocations"
	MetricConcurrentRateLimit   = "ConcurrentRateLimit"
	MetricTimedRateLimit        = "TimedRateLimit"
)

// EventMessage is one user event. Body is an ActivationEvent or a
// MetricEvent, told by EventType.
type EventMessage struct {
	Body      json.RawMessage `json:"body"`
	EventType string          `json:"eventType"`
	Namespace string          `json:"namespace"`
	Source    string          `json:"source"` // "invoker0", "controller0"
	Subject   string          `json:"subject"`
	Timestamp int64           `json:"timestamp"` // epoch ms
	UserID    string          `json:"userId"`
}

// ActivationEvent says how an activation ended.
type ActivationEvent struct {
	ActivationID string     `json:"activationId"`
	CausedBy     string     `json:"causedBy,omitempty"` // "sequence"
	Conductor    bool       `json:"conductor"`
	Duration     int64      `json:"duration"` // ms
	InitTime     int64      `json:"initTime"` // ms; 0 is a warm start
	Kind         string     `json:"kind"`
	Memory       int        `json:"memory"` // MB
	Name         string     `json:"name"`   // "guest/pkg/action"
	Size         *int       `json:"size,omitempty"`
	StatusCode   StatusCode `json:"statusCode"`
	WaitTime     int64      `json:"waitTime"` // ms
}

// MetricEvent is one measurement of a namespace.
type MetricEvent struct {
	MetricName  string `json:"metricName"`
	MetricValue int64  `json:"metricValue"`
}

// ParseEvent reads a message of the events topic.
func ParseEvent(b []byte) (EventMessage, error) {
	var m EventMessage
	if err := decode(b, &m); err != nil {
		return EventMessage{}, err
	}
	if m.EventType == "" || len(m.Body) == 0 {
		return EventMessage{}, ErrMessage
	}
	return m, nil
}

// Activation reads the body of an Activation event.
func (m EventMessage) Activation() (ActivationEvent, error) {
	var e ActivationEvent
	if m.EventType != EventActivation {
		return e, ErrMessage
	}
	return e, decode(m.Body, &e)
}

// Metric reads the body of a Metric event.
func (m EventMessage) Metric() (MetricEvent, error) {
	var e MetricEvent
	if m.EventType != EventMetric {
		return e, ErrMessage
	}
	return e, decode(m.Body, &e)
}
