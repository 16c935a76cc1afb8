package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// What functions print must not steer a terminal, nor pass for lines of weft's own.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 漢\tx":        "plain ü 漢\tx",
		"\x1b[2J\a":           "\uFFFD[2J\uFFFD",
		"csi \u009b2J":        "csi \uFFFD2J",
		"bidi \u202Eevil":     "bidi \uFFFDevil",
		"first\n12:00 second": "first\n    12:00 second",
		"\x7f\r":              "\uFFFD\uFFFD",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestStallSaysWhatComes(t *testing.T) {
	since := time.Now()
	s := &control.Stall{SinceMS: since.UnixMilli(), Reason: "no broker", LeasesMS: since.Add(time.Minute).UnixMilli()}
	for at, want := range map[time.Duration]string{
		time.Second: "; events flow until the first lease ends, at " + clock(s.LeasesMS) + "; all goes on when Kafka answers: no broker",
		time.Hour:   "; leases have ended since " + clock(s.LeasesMS) + ", and workers without one wait with what they hold; all goes on when Kafka answers: no broker",
	} {
		if got := stall(s, since.Add(at)); !strings.HasPrefix(got, "since "+clock(s.SinceMS)) || !strings.HasSuffix(got, want) {
			t.Errorf("after %v: %s", at, got)
		}
	}
}
