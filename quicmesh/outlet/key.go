package outlet

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// keyPath is where a keyed edge finds an event's key: names of fields, or numbers of elements.
type keyPath struct {
	text  string // as the spec has it
	parts []string
}

func newKeyPath(path string) keyPath { return keyPath{path, strings.Split(path, ".")} }

// of gives an event's key: a string's characters, a number in full, and the JSON text of anything else. It may
// be part of the payload.
func (k *keyPath) of(payload []byte) ([]byte, error) {
	v, ok := find(bytes.TrimLeft(payload, " \t\r\n"), k.parts)
	switch {
	case !ok:
		return nil, fmt.Errorf("the event has no field %q to take its key from", k.text)
	case v[0] == 'n':
		return nil, fmt.Errorf("the event's field %q is null and can't be its key", k.text)
	case v[0] == '"' && len(v) > 1: // a payload that was lent may change meanwhile
		return characters(v[1 : len(v)-1]), nil
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		return inFull(v), nil
	}
	return v, nil
}

// find gives the value behind a path in one that begins at b. Where a name comes twice, the first that leads
// to a value counts. What is not JSON ends the search.
func find(b []byte, path []string) ([]byte, bool) {
	if len(path) == 0 {
		n := skip(b)
		return b[:n], n > 0
	}
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return nil, false
	}
	object, index := b[0] == '{', 0
	wanted, isNumber := number(path[0])
	for rest := space(b[1:]); len(rest) > 0 && rest[0] != '}' && rest[0] != ']'; rest = space(rest) {
		match := isNumber && index == wanted
		if object {
			n := skip(rest)
			if n < 2 || rest[0] != '"' {
				return nil, false
			}
			match = named(rest[1:n-1], path[0])
			if rest = space(rest[n:]); len(rest) == 0 || rest[0] != ':' {
				return nil, false
			}
			rest = space(rest[1:])
		}
		if match {
			if v, ok := find(rest, path[1:]); ok {
				return v, true
			}
		}
		n := skip(rest)
		if n == 0 {
			return nil, false
		}
		if rest = space(rest[n:]); len(rest) > 0 && rest[0] == ',' {
			rest = rest[1:]
		}
		index++
	}
	return nil, false
}

// number reads an element's number.
func number(s string) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || n > math.MaxInt32 {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, s != ""
}

// named compares the inside of a JSON string with a name.
func named(inside []byte, name string) bool {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside) == name
	}
	return string(characters(inside)) == name
}

// space leaves out white space.
func space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// skip is the length of the value that b begins with; 0 without one.
func skip(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return skipString(b)
	case '{', '[':
		return skipNested(b)
	case ',', ':', '}', ']':
		return 0
	}
	for n, c := range b {
		switch c {
		case ',', ':', '}', ']', ' ', '\t', '\r', '\n':
			return n
		}
	}
	return len(b)
}

func skipString(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func skipNested(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			n := skipString(b[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		}
	}
	return 0
}

// inFull writes a number without an exponent; an integer stays as it is.
func inFull(v []byte) []byte {
	for i, c := range v {
		if (c < '0' || c > '9') && (i > 0 || c != '-') {
			f, _ := strconv.ParseFloat(string(v), 64) // beyond the largest it is an infinity
			return strconv.AppendFloat(nil, f, 'f', -1, 64)
		}
	}
	return v
}

// characters of the inside of a JSON string. A lone surrogate is U+FFFD.
func characters(inside []byte) []byte {
	at := bytes.IndexByte(inside, '\\')
	if at < 0 {
		return inside
	}
	out := append(make([]byte, 0, len(inside)), inside[:at]...)
	for i := at; i < len(inside); i++ {
		c := inside[i]
		if c != '\\' || i+1 == len(inside) {
			out = append(out, c)
			continue
		}
		i++
		switch c = inside[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := unit(inside[i+1:])
			i += 4
			if rest := inside[min(i+1, len(inside)):]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
				if pair := utf16.DecodeRune(r, unit(rest[2:])); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return out
}

// unit reads the four digits of \u; U+FFFD without them.
func unit(b []byte) rune {
	if len(b) < 4 {
		return utf8.RuneError
	}
	u, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(u)
}
