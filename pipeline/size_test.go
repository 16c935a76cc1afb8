package pipeline_test

import (
	"testing"

	"github.com/weft-stream/weft/pipeline"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "4096": 4096, "512Ki": 512 << 10, "64Mi": 64 << 20, "3Gi": 3 << 30,
		"": 0, "0": 0, "-1": 0, "1.5Gi": 0, "64M": 0, "64 Mi": 0, "Mi": 0, "9000000000Gi": 0, "99999999999999999999": 0,
	} {
		if n, err := pipeline.ParseSize(text); n != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}
