package localwhisk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weft-stream/weft/openwhisk"
)

// initResponse is nil if the container is initialised.
func initResponse(r reply, c *container, limit time.Duration) *openwhisk.Response {
	var text string
	switch {
	case r.err != nil && c.exhausted():
		text = textMemory
	case r.took >= limit:
		text = fmt.Sprintf("The action exceeded its time limits of %d milliseconds during initialization.", limit.Milliseconds())
	case r.err != nil:
		text = "The action did not initialize and exited unexpectedly."
	case r.status == http.StatusOK:
		return nil
	default:
		resp := sized(openwhisk.StatusDeveloperError, failureText(r.body, "The action failed during initialization"), r.body)
		return &resp
	}
	resp := errorResponse(openwhisk.StatusDeveloperError, text)
	return &resp
}

const textMemory = "The action exhausted its memory and was aborted."

// runResponse maps a container's answer to the activation's.
func (in *invoker) runResponse(r reply, c *container, limit time.Duration) openwhisk.Response {
	switch {
	case r.err != nil && c.exhausted():
		return errorResponse(openwhisk.StatusDeveloperError, textMemory)
	case r.took >= limit:
		return errorResponse(openwhisk.StatusDeveloperError,
			fmt.Sprintf("The action exceeded its time limits of %d milliseconds.", limit.Milliseconds()))
	case r.err != nil:
		return errorResponse(openwhisk.StatusDeveloperError, "The action did not produce a valid response and exited unexpectedly.")
	case r.length > int64(in.p.cfg.Limits.PayloadBytes):
		size := int(r.length)
		resp := errorResponse(openwhisk.StatusApplicationError, fmt.Sprintf(
			"The action produced a response that exceeded the allowed length: %d > %d bytes. The truncated response was: %s",
			r.length, in.p.cfg.Limits.PayloadBytes, strings.ToValidUTF8(string(r.body), "�")))
		resp.Size = &size
		return resp
	}
	const invalid = "The action did not produce a valid JSON response"
	kind := firstByte(r.body)
	if r.status != http.StatusOK || !json.Valid(r.body) || kind != '{' && kind != '[' {
		return sized(openwhisk.StatusDeveloperError, failureText(r.body, invalid), r.body)
	}
	resp := openwhisk.Response{Result: json.RawMessage(strings.TrimSpace(string(r.body)))}
	if e := objectOf(r.body)["error"]; kind == '{' && e != nil {
		return sized(openwhisk.StatusApplicationError, e, r.body)
	}
	size := utf8.RuneCount(r.body)
	resp.Size = &size
	return resp
}

// failureText is the error a container gave, or the platform's text with what
// it sent behind.
func failureText(body []byte, text string) json.RawMessage {
	if e := objectOf(body)["error"]; e != nil {
		return e
	}
	if len(body) == 0 {
		return mustJSON(text + ".")
	}
	return mustJSON(text + ": " + strings.ToValidUTF8(string(body), "�"))
}

// sized is an error response with the size of what the container sent.
func sized(code openwhisk.StatusCode, e json.RawMessage, body []byte) openwhisk.Response {
	size := utf8.RuneCount(body)
	return openwhisk.Response{StatusCode: code, Result: mustJSON(map[string]json.RawMessage{"error": e}), Size: &size}
}

func firstByte(b []byte) byte {
	if t := strings.TrimLeft(string(b[:min(len(b), 64)]), " \t\r\n"); t != "" {
		return t[0]
	}
	return 0
}
