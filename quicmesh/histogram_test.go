package quicmesh_test

import (
	"testing"

	"github.com/weft-stream/weft/quicmesh"
)

func TestHistogramQuantilesAreRightWithinAFifth(t *testing.T) {
	for _, top := range []int64{3, 10, 1000, 123_456, 60_000_000} {
		var h, half quicmesh.Histogram
		const n = 1000
		for i := int64(1); i <= n; i++ {
			if i%2 == 0 {
				h.Add(top * i / n)
			} else {
				half.Add(top * i / n)
			}
		}
		h.Merge(&half)
		for _, q := range []float64{0.01, 0.5, 0.99, 1} {
			exact := float64(top) * q
			if got := float64(h.Quantile(q)); got < exact*0.8-1 || got > exact*1.25+1 {
				t.Errorf("quantile %v up to %d is %v", q, top, got)
			}
		}
		if h.Count() != n {
			t.Errorf("%d of %d counted", h.Count(), n)
		}
	}
	var h quicmesh.Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	h.Add(-5)
	h.Add(1 << 62)
	if h.Quantile(0) != 0 || h.Quantile(1) < 1<<40 || h.Count() != 2 {
		t.Errorf("of the extremes: %d, %d", h.Quantile(0), h.Quantile(1))
	}
}
