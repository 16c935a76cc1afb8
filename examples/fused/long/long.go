// Long keeps the words that have enough letters.
package main

import (
	"context"
	"fmt"
	"unicode/utf8"

	weft "github.com/weft-stream/weft/sdk/go"
)

type word struct {
	Word string `json:"word"`
}

func long(ctx context.Context, w word) (*word, error) {
	letters, stage := 0, weft.StageOf(ctx)
	if !stage.Param("letters", &letters) {
		return nil, fmt.Errorf("stage %s needs the parameter letters", stage.Name)
	}
	if utf8.RuneCountInString(w.Word) < letters {
		return nil, nil
	}
	return &w, nil
}

func main() { weft.Map(long) }
