package outlet

import (
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

func TestTraceOf(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		f    frame.Frame
		want string
	}{
		{frame.Frame{ID: []byte("in[0]/7")}, "in[0]/7"},
		{frame.Frame{ID: []byte("in[0]/7"), Headers: frame.AppendHeader(frame.AppendHeader(nil, "a", "b"), "traceparent", parent)}, parent},
		{frame.Frame{ID: []byte("in[0]/7"), Headers: []byte("broken")}, "in[0]/7"},
		{frame.Frame{ID: []byte(strings.Repeat("x", 1000))}, strings.Repeat("x", maxTrace)},
	} {
		if got := string(TraceOf(&c.f)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
