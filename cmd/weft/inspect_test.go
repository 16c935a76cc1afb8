package main

import "testing"

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
