// Words makes an event of each word of a line.
package main

import (
	"context"
	"strings"
	"unicode"

	weft "github.com/weft-stream/weft/sdk/go"
)

type line struct {
	Line string `json:"line"`
}

type word struct {
	Word string `json:"word"`
}

func words(_ context.Context, in line, emit func(word)) error {
	for w := range strings.FieldsFuncSeq(in.Line, func(r rune) bool { return !unicode.IsLetter(r) }) {
		emit(word{strings.ToLower(w)})
	}
	return nil
}

func main() { weft.FlatMap(words) }
