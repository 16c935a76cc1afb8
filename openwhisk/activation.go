package openwhisk

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// StatusCode is how an activation ended.
type StatusCode int

// The four outcomes. Only the first two leave the container alive.
const (
	StatusSuccess          StatusCode = 0
	StatusApplicationError StatusCode = 1 // the function answered with an error
	StatusDeveloperError   StatusCode = 2 // the container or its proxy failed
	StatusWhiskError       StatusCode = 3 // the platform failed
)

var statusNames = [...]string{"success", "application error", "action developer error", "whisk internal error"}

// String is the text that REST uses, such as "application error".
func (s StatusCode) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return fmt.Sprintf("status %d", int(s))
	}
	return statusNames[s]
}

// Activation is the record of one run, or of a fired trigger: that has no end.
type Activation struct {
	ActivationID string    `json:"activationId"` // 32 lower-case hex digits
	Annotations  KeyValues `json:"annotations"`
	Cause        string    `json:"cause,omitempty"` // the sequence or composition that ran it
	Duration     int64     `json:"duration"`        // ms, with initialization
	End          int64     `json:"end"`             // epoch ms
	Logs         []string  `json:"logs"`            // lines; of a sequence the ids of its steps
	Name         string    `json:"name"`
	Namespace    string    `json:"namespace"`
	Publish      bool      `json:"publish"`
	Response     Response  `json:"response"`
	Start        int64     `json:"start"` // epoch ms
	Subject      string    `json:"subject"`
	Version      string    `json:"version"`
}

// Response is what an activation answered. It reads both forms, REST's with
// the status as a text and Kafka's with a number, and writes REST's.
type Response struct {
	StatusCode StatusCode
	Result     json.RawMessage // an object or an array; nil if there is none
	Size       *int            // characters the container sent; nil where none did
}

// Success reports whether the activation succeeded.
func (r Response) Success() bool { return r.StatusCode == StatusSuccess }

type restResponse struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Size    *int            `json:"size,omitempty"`
	Status  string          `json:"status"`
	Success bool            `json:"success"`
}

// MarshalJSON writes REST's form, with < > and & in the result as they are.
func (r Response) MarshalJSON() ([]byte, error) {
	return marshal(restResponse{r.Result, r.Size, r.StatusCode.String(), r.Success()})
}

// marshal is json.Marshal that leaves < > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// UnmarshalJSON reads REST's and Kafka's form.
func (r *Response) UnmarshalJSON(b []byte) error {
	var in struct {
		restResponse
		StatusCode *StatusCode `json:"statusCode"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*r = Response{Result: in.Result, Size: in.Size}
	if in.StatusCode != nil {
		r.StatusCode = *in.StatusCode
		return nil
	}
	for i, name := range statusNames {
		if name == in.Status {
			r.StatusCode = StatusCode(i)
			return nil
		}
	}
	return fmt.Errorf("openwhisk: response with unknown status %q", in.Status)
}

// ActivationSummary is an activation in a list without docs.
type ActivationSummary struct {
	ActivationID string     `json:"activationId"`
	Annotations  KeyValues  `json:"annotations"`
	Cause        string     `json:"cause,omitempty"`
	Duration     int64      `json:"duration"` // ms
	End          int64      `json:"end"`      // epoch ms
	Name         string     `json:"name"`
	Namespace    string     `json:"namespace"`
	Publish      bool       `json:"publish"`
	Start        int64      `json:"start"` // epoch ms
	StatusCode   StatusCode `json:"statusCode"`
	Version      string     `json:"version"`
}

// Summary is the activation without its logs and result.
func (a *Activation) Summary() ActivationSummary {
	return ActivationSummary{a.ActivationID, a.Annotations, a.Cause, a.Duration, a.End, a.Name,
		a.Namespace, a.Publish, a.Start, a.Response.StatusCode, a.Version}
}
