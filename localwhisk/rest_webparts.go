package localwhisk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// statusCode reads a number or its text; none is 0.
func statusCode(v json.RawMessage) (code int, ok bool) {
	if v == nil {
		return 0, true
	}
	text := string(v)
	json.Unmarshal(v, &text) // of a number the digits stay
	f, err := strconv.ParseFloat(text, 64)
	code = int(f)
	return code, err == nil && float64(code) == f && code >= 200 && code <= 999
}

// resultHeaders reads headers, each a string, a number, a boolean or a list of
// those.
func resultHeaders(v json.RawMessage) (http.Header, bool) {
	h := http.Header{}
	var named map[string]any
	if v == nil {
		return h, true
	}
	if firstByte(v) != '{' || json.Unmarshal(v, &named) != nil {
		return nil, false
	}
	var add func(name string, v any) bool
	add = func(name string, v any) bool {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if !add(name, e) {
					return false
				}
			}
		case string, bool:
			h.Add(name, fmt.Sprint(v))
		case float64:
			h.Add(name, strconv.FormatFloat(v, 'f', -1, 64))
		default:
			return false
		}
		return true
	}
	for name, value := range named {
		if !add(name, value) {
			return nil, false
		}
	}
	return h, true
}

// resultBody is the body and its content type; nil for an empty one. A string
// is text, HTML unless the headers say else, or base64 of a binary type.
func resultBody(v json.RawMessage, contentType string) (body []byte, kind string, err error) {
	var text *string
	if v == nil || string(v) == "null" || string(v) == `""` {
		return nil, "", nil
	}
	isText := json.Unmarshal(v, &text) == nil
	if contentType == "" {
		contentType = "application/json"
		if isText {
			contentType = "text/html"
		}
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(media, "/") {
		if !isText {
			return nil, "", errMismatch
		}
		return nil, "", fail(400, "Response did not specify a known content-type.")
	}
	switch {
	case !isText && jsonFamily(media):
		return pretty(v), media, nil
	case !isText:
		return nil, "", errMismatch
	case jsonFamily(media) && isBase64(*text), !textual(media) && params["charset"] == "":
		b, err := base64.StdEncoding.DecodeString(*text)
		if err != nil {
			return nil, "", errMismatch
		}
		return b, contentType, nil
	case jsonFamily(media):
		return []byte(*text), media, nil
	}
	params["charset"] = "UTF-8"
	return []byte(*text), mime.FormatMediaType(media, params), nil
}

var errMismatch = fail(400, "Response type in header did not match generated content type.")
