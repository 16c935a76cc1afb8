package images

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
)

// message is a line of what Docker says while it works.
type message struct {
	Stream string `json:"stream"`
	Error  string `json:"error"`
}

func messages(r io.Reader) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for d := json.NewDecoder(r); ; {
			var m message
			err := d.Decode(&m)
			if errors.Is(err, io.EOF) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}
