// Counts words. The edge to it is keyed by word, so that one replica sees all events of a word.
package main

import (
	"context"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Word struct {
	Word  weft.Text `json:"word"`
	Count int       `json:"count"`
}

type counter map[weft.Text]int

func (c counter) Event(_ context.Context, in Word) error {
	c[in.Word]++
	return nil
}

func (c counter) End(_ context.Context, emit func(Word)) error {
	for word, n := range c {
		emit(Word{word, n})
	}
	return nil
}

func main() {
	weft.Reduce(func() counter { return counter{} })
}
