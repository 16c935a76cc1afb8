package tests

import (
	"encoding/json"
	"regexp"
	"strconv"
)

// surrogates is a JSON string in which \udcXX stands for a byte that was no UTF-8, as Python's
// surrogateescape writes it; encoding/json would put U+FFFD there.
type surrogates string

var escaped = regexp.MustCompile(`\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\udc[89a-f][0-9a-f]`)

func (s *surrogates) UnmarshalJSON(b []byte) error {
	var raw []byte
	var out []byte
	flush := func() error {
		var text string
		if err := json.Unmarshal([]byte(`"`+string(raw)+`"`), &text); err != nil {
			return err
		}
		out, raw = append(out, text...), raw[:0]
		return nil
	}
	rest := b[1 : len(b)-1]
	for len(rest) > 0 {
		at := escaped.FindIndex(rest)
		if at == nil {
			raw = append(raw, rest...)
			break
		}
		raw = append(raw, rest[:at[0]]...)
		match := string(rest[at[0]:at[1]])
		rest = rest[at[1]:]
		if len(match) != 6 {
			raw = append(raw, match...)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		n, err := strconv.ParseUint(match[4:], 16, 8)
		if err != nil {
			return err
		}
		out = append(out, byte(n))
	}
	if err := flush(); err != nil {
		return err
	}
	*s = surrogates(out)
	return nil
}
