package localwhisk

import (
	"bytes"
	"encoding/json"
)

// mustJSON encodes what always has a JSON form.
func mustJSON(v any) []byte {
	b, err := encode(v)
	if err != nil {
		panic("localwhisk: encode: " + err.Error())
	}
	return b
}

// encode writes JSON as the platform does: < > and & stay as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// objectOf reads a JSON object; anything else is an empty one.
func objectOf(raw json.RawMessage) map[string]json.RawMessage {
	o := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return map[string]json.RawMessage{}
	}
	return o
}

// pretty prints JSON as the platform answers for web actions: objects over
// several lines, arrays on one, keys in their order.
func pretty(v json.RawMessage) []byte {
	var b bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	if printValue(&b, d, 0) != nil {
		return v
	}
	return b.Bytes()
}

func printValue(b *bytes.Buffer, d *json.Decoder, indent int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		b.Write(mustJSON(t))
		return nil
	}
	sep, in := "", indent+2
	if open == '{' {
		b.WriteString("{\n")
	} else {
		b.WriteByte('[')
	}
	for d.More() {
		b.WriteString(sep)
		sep = ", "
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			sep = ",\n"
			b.Write(bytes.Repeat([]byte(" "), in))
			b.Write(mustJSON(key))
			b.WriteString(": ")
			if err := printValue(b, d, in); err != nil {
				return err
			}
		} else if err := printValue(b, d, indent); err != nil {
			return err
		}
	}
	if open == '{' {
		b.WriteByte('\n')
		b.Write(bytes.Repeat([]byte(" "), indent))
		b.WriteByte('}')
	} else {
		b.WriteByte(']')
	}
	_, err = d.Token() // the closing one
	return err
}
