package localwhisk

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/weft-stream/weft/openwhisk"
)

// webExtensions turn a web action's result into the answer, by extension.
var webExtensions = map[string]func(*webCall, json.RawMessage) error{
	"http": (*webCall).answerHTTP,
	"json": (*webCall).answerJSON,
	"html": func(w *webCall, v json.RawMessage) error {
		return w.answerText(v, "html", "text/html", "text/html; charset=UTF-8")
	},
	"svg": func(w *webCall, v json.RawMessage) error {
		return w.answerText(v, "svg", "image/svg+xml", "image/svg+xml")
	},
	"text": (*webCall).answerPlain,
}

// answer writes what the action answered. Of an application's error only the
// error counts; a broken action is a bad request.
func (w *webCall) answer(resp openwhisk.Response) error {
	result := resp.Result
	switch resp.StatusCode {
	case openwhisk.StatusSuccess:
	case openwhisk.StatusApplicationError:
		if result = objectOf(resp.Result)["error"]; result == nil {
			return fail(404, "Response does not include requested property.")
		}
	default:
		return fail(400, "There was an error processing your request.")
	}
	return webExtensions[w.extension](w, result)
}

func invalidMedia(kind string) error { return fail(400, "Response is not valid '"+kind+"'.") }

func (w *webCall) answerJSON(v json.RawMessage) error {
	if k := firstByte(v); k != '{' && k != '[' {
		return invalidMedia("application/json")
	}
	w.send(200, "application/json", pretty(v))
	return nil
}

// answerText answers with the string in field body or in the extension's own.
func (w *webCall) answerText(v json.RawMessage, field, kind, contentType string) error {
	if firstByte(v) == '{' {
		o := objectOf(v)
		if v = o["body"]; v == nil {
			v = o[field]
		}
	}
	var text *string
	if json.Unmarshal(v, &text) != nil || text == nil {
		return invalidMedia(kind)
	}
	w.send(200, contentType, []byte(*text))
	return nil
}

// answerPlain answers with any value: strings as they are, all else as JSON.
func (w *webCall) answerPlain(v json.RawMessage) error {
	if firstByte(v) == '{' {
		o := objectOf(v)
		if v = o["body"]; v == nil {
			v = o["text"]
		}
		if v == nil {
			return fail(404, "Response does not include requested property.")
		}
	}
	var text string
	out := []byte(v)
	if k := firstByte(v); k == '{' || k == '[' {
		out = pretty(v)
	} else if k == '"' && json.Unmarshal(v, &text) == nil {
		out = []byte(text)
	}
	w.send(200, "text/plain; charset=UTF-8", out)
	return nil
}

// answerHTTP answers with the result's statusCode, headers and body.
func (w *webCall) answerHTTP(v json.RawMessage) error {
	if firstByte(v) != '{' {
		return invalidMedia("message/http")
	}
	o := objectOf(v)
	code, codeOK := statusCode(o["statusCode"])
	headers, headersOK := resultHeaders(o["headers"])
	if !codeOK || !headersOK {
		return invalidMedia("message/http")
	}
	contentType := headers.Get("Content-Type")
	headers.Del("Content-Type")
	headers.Del("Content-Length")
	body, kind, err := resultBody(o["body"], contentType)
	if err != nil {
		return err
	}
	for name, values := range headers {
		w.w.Header()[name] = values
	}
	if body == nil {
		if code == 0 {
			code = http.StatusNoContent
		}
		w.w.WriteHeader(code)
		return nil
	}
	if code == 0 {
		code = http.StatusOK
	}
	w.send(code, kind, body)
	return nil
}

func (w *webCall) send(code int, contentType string, body []byte) {
	w.w.Header().Set("Content-Type", contentType)
	w.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.w.WriteHeader(code)
	w.w.Write(body)
}
