package outlet

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// ErrorText is a cause in words.
func ErrorText(s string) json.RawMessage { return AppendText(nil, []byte(s)) }

// ErrorObject is {"error": text}, the one form of an error in OpenWhisk.
func ErrorObject(s string) []byte {
	return append(append([]byte(`{"error":`), ErrorText(s)...), '}')
}

// CauseOf takes the cause out of a function's {"error": …}.
func CauseOf(payload []byte) json.RawMessage {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(payload, &e) != nil || len(e.Error) == 0 {
		return ErrorText(fmt.Sprintf("%.1000s", payload))
	}
	return e.Error
}

const hexDigits = "0123456789abcdef"

// AppendText writes a JSON string. Bytes that are not UTF-8 become lone surrogates, \udc80 to \udcff, as Python's
// surrogateescape has them, so that a function can get the bytes back.
func AppendText(b, text []byte) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, text[from:i]...), `\udc`...)
				b = append(b, hexDigits[c>>4], hexDigits[c&15])
				from = i + 1
			}
			i += n
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			b = appendEscape(append(b, text[from:i]...), c)
			from = i + 1
		}
		i++
	}
	return append(append(b, text[from:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
