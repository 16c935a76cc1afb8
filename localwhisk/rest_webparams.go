package localwhisk

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/url"
	"strings"
)

// params are what the action is called with: the request's context, its query
// and, over it, its body. None may set what the action fixes or the context.
func (w *webCall) params(namespace string, body []byte) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{"__ow_method": mustJSON(strings.ToLower(w.Method)), "__ow_headers": mustJSON(headersOf(w.Request)),
		"__ow_path": mustJSON(w.path)}
	if w.authorized {
		out["__ow_user"] = mustJSON(namespace)
	}
	var content json.RawMessage
	if len(body) > 0 {
		var err error
		if content, err = w.content(body); err != nil {
			return nil, err
		}
	}
	if w.raw {
		out["__ow_query"], out["__ow_body"] = mustJSON(w.URL.RawQuery), mustJSON("")
		if content != nil {
			out["__ow_body"] = content
		}
		return out, nil
	}
	set := map[string]json.RawMessage{}
	values, _ := url.ParseQuery(w.URL.RawQuery) // what cannot be read is left out
	for k, v := range values {
		set[k] = mustJSON(v[len(v)-1])
	}
	for k, v := range objectOf(content) {
		set[k] = v
	}
	for k, v := range set {
		if w.call.fixed(k) || reserved[k] {
			return nil, asEarly(errParameters)
		}
		out[k] = v
	}
	if content != nil && firstByte(content) != '{' {
		out["__ow_body"] = content
	}
	return out, nil
}

var reserved = map[string]bool{"__ow_method": true, "__ow_headers": true, "__ow_path": true, "__ow_user": true, "__ow_query": true, "__ow_body": true}

// content is the body as a JSON value: JSON and forms as they are unless the
// action wants it raw, text as a string, all else in base64.
func (w *webCall) content(body []byte) (json.RawMessage, error) {
	kind, charset, err := mime.ParseMediaType(w.Header.Get("Content-Type"))
	if err != nil {
		kind = "application/octet-stream"
	}
	switch {
	case jsonFamily(kind) && !w.raw:
		var v json.RawMessage
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, malformed(jsonTrouble(body, err))
		}
		return v, nil
	case kind == "application/x-www-form-urlencoded" && !w.raw:
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed(err.Error())
		}
		form := map[string]string{}
		for k, v := range values {
			form[k] = v[len(v)-1]
		}
		return mustJSON(form), nil
	case kind != "application/json" && (textual(kind) || charset["charset"] != ""):
		return mustJSON(strings.ToValidUTF8(string(body), "�")), nil
	}
	return mustJSON(base64.StdEncoding.EncodeToString(body)), nil
}

func jsonFamily(kind string) bool {
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// textual reports whether a media type has a character set.
func textual(kind string) bool {
	switch kind {
	case "application/x-www-form-urlencoded", "application/xml", "application/javascript", "application/xhtml+xml",
		"application/soap+xml", "application/atom+xml", "application/rss+xml", "application/x-javascript":
		return true
	}
	return strings.HasPrefix(kind, "text/") || jsonFamily(kind)
}
