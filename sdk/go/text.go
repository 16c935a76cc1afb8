package weft

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Text is a string of any bytes. JSON holds only Unicode, so that bytes that were not UTF-8 travel as
// the lone surrogates \udc80 to \udcff, the way of Python's surrogateescape; a string field would make
// U+FFFD of them, a Text gives them back as they were. Like any string it can be a map's key.
type Text string

// MarshalJSON writes t as a JSON string, bytes that are not UTF-8 as lone surrogates.
func (t Text) MarshalJSON() ([]byte, error) {
	const hex = "0123456789abcdef"
	b := append(make([]byte, 0, len(t)+2), '"')
	for i := 0; i < len(t); {
		r, n := utf8.DecodeRuneInString(string(t[i:]))
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\udc`...)
			b = append(b, hex[t[i]>>4], hex[t[i]&15])
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = append(b, t[i:i+n]...)
		}
		i += n
	}
	return append(b, '"'), nil
}

// UnmarshalJSON reads a JSON string. A lone surrogate that stands for no byte is an error.
func (t *Text) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("decode text: %.20s is no JSON string", b)
	}
	var out []byte
	begin := 1 // of the part that holds no lone surrogate
	for i := 1; i < len(b)-1; {
		if b[i] != '\\' {
			i++
			continue
		}
		unit, n := escape(b[i:])
		if unit >= 0 {
			if unit < 0xDC80 || unit > 0xDCFF {
				return fmt.Errorf("decode text: %s stands for no character and no byte", b[i:i+n])
			}
			part, err := unquote(b[begin:i])
			if err != nil {
				return err
			}
			out = append(append(out, part...), byte(unit))
			begin = i + n
		}
		i += n
	}
	part, err := unquote(b[begin : len(b)-1])
	*t = Text(out) + Text(part)
	return err
}

// escape measures the escape that b begins with. unit is a lone surrogate, or -1 for anything else.
func escape(b []byte) (unit, n int) {
	first := codeUnit(b)
	switch {
	case first < 0:
		return -1, 2
	case first < 0xD800 || first > 0xDFFF:
		return -1, 6
	case first < 0xDC00:
		if second := codeUnit(b[6:]); second >= 0xDC00 && second <= 0xDFFF {
			return -1, 12
		}
	}
	return first, 6
}

// codeUnit reads \uXXXX; -1 when b begins with something else.
func codeUnit(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	u, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(u)
}

// unquote decodes the inside of a JSON string.
func unquote(inside []byte) (string, error) {
	plain := true
	for _, c := range inside {
		plain = plain && c != '\\'
	}
	if plain {
		return string(inside), nil
	}
	var s string
	err := json.Unmarshal(append(append([]byte{'"'}, inside...), '"'), &s)
	return s, err
}
