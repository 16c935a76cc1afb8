package weft

// maxDepth bounds how deep compact looks.
const maxDepth = 100

// compact reports whether b is a JSON object as encoding/json would write it, without white space: it can be
// sent as it is. false may mean that it is nested too deeply; encoding/json knows better.
func compact(b []byte) bool { return len(b) > 0 && b[0] == '{' && value(b, 0, maxDepth) == len(b) }

// value is where the value that begins at i ends; -1 if there is none.
func value(b []byte, i, depth int) int {
	if i >= len(b) || depth == 0 {
		return -1
	}
	switch c := b[i]; c {
	case '{':
		return members(b, i, '}', depth-1)
	case '[':
		return members(b, i, ']', depth-1)
	case '"':
		return text(b, i)
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

// members is where the object or array ends that begins at i and is closed by end.
func members(b []byte, i int, end byte, depth int) int {
	if i++; i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if end == '}' {
			if i = text(b, i); i < 0 || i >= len(b) || b[i] != ':' {
				return -1
			}
			i++
		}
		if i = value(b, i, depth); i < 0 || i >= len(b) {
			return -1
		}
		switch b[i] {
		case end:
			return i + 1
		case ',':
			i++
		default:
			return -1
		}
	}
}

// text is where the string that begins at i ends.
func text(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; ; i++ {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) || b[i] < ' ' {
			return -1
		}
		if b[i] == '"' {
			return i + 1
		}
		if i++; i >= len(b) {
			return -1
		}
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if i+4 >= len(b) || !hex(b[i+1]) || !hex(b[i+2]) || !hex(b[i+3]) || !hex(b[i+4]) {
				return -1
			}
			i += 4
		default:
			return -1
		}
	}
}

// plain are the bytes of a string that stand for themselves.
var plain = func() (p [256]bool) {
	for c := range p {
		p[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return p
}()

func hex(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

// number is where the number that begins at i ends.
func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole < 0 || b[i] == '0' && whole > i+1 {
		return -1
	}
	if i = whole; i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits is where the digits end that begin at i; -1 if there are none.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && digit(b[i]) {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
