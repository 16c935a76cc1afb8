package openwhisk

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// APIError is an answer of the platform that is not the one asked for. Use
// errors.As to get at it.
type APIError struct {
	Status  int    // HTTP status
	Message string // the platform's text
	Code    string // the transaction, for the platform's logs
	Request string // method and path
}

// Error names the request, the status and the platform's text.
func (e *APIError) Error() string {
	return fmt.Sprintf("openwhisk: %s: %d %s", e.Request, e.Status, e.Message)
}

// Busy reports whether the same call may succeed later: throttled (429) or no
// invoker or scheduler there (503).
func (e *APIError) Busy() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
}

// Full reports whether the namespace has as many activations under way as it may have, or containers, where a
// scheduler counts those.
func (e *APIError) Full() bool {
	return e.Status == http.StatusTooManyRequests && !strings.Contains(e.Message, "in the last minute")
}

// IsNotFound reports whether err is the platform's 404: no such entity, or an
// activation that still runs.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsConflict reports whether err is the platform's 409: the entity exists.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// IsBusy reports whether err is a 429 or 503 of the platform.
func IsBusy(err error) bool {
	var e *APIError
	return errors.As(err, &e) && e.Busy()
}

func hasStatus(err error, status int) bool {
	var e *APIError
	return errors.As(err, &e) && e.Status == status
}

func apiError(method, path string, a answer) error {
	e := &APIError{Status: a.status, Request: method + " " + path}
	var body struct {
		Error json.RawMessage `json:"error"`
		Code  json.RawMessage `json:"code"`
	}
	if json.Unmarshal(a.body, &body) == nil {
		e.Message, e.Code = text(body.Error), text(body.Code)
	}
	if e.Message == "" {
		e.Message = http.StatusText(a.status)
	}
	return e
}

// text is a JSON string's value, or any other JSON as it stands.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
