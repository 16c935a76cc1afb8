package sdk_test

import (
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
)

// exchange reads PROTOCOL.md's example: who writes what, in order.
func exchange(t *testing.T) (turns []turn) {
	text, err := os.ReadFile("PROTOCOL.md")
	check(t, err)
	_, block, _ := strings.Cut(string(text), "```hex\n")
	block, _, _ = strings.Cut(block, "```")
	for line := range strings.Lines(block) {
		code, note, _ := strings.Cut(line, "#")
		if who, _, ok := strings.Cut(note, ":"); ok && strings.TrimSpace(code) == "" {
			turns = append(turns, turn{by: strings.TrimSpace(who)})
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(code), ""))
		check(t, err)
		if len(b) > 0 {
			last := &turns[len(turns)-1]
			last.bytes = append(last.bytes, b...)
		}
	}
	if len(turns) != 8 {
		t.Fatalf("PROTOCOL.md's example has %d frames", len(turns))
	}
	return turns
}

type turn struct {
	by    string
	bytes []byte
}

func TestExchangeOfTheProtocol(t *testing.T) {
	both(t, "split", func(t *testing.T, p *proxy) {
		p.connect()
		for i, turn := range exchange(t) {
			if turn.by == "proxy" {
				_, err := p.conn.Write(turn.bytes)
				check(t, err)
				continue
			}
			got := make([]byte, len(turn.bytes))
			_, err := io.ReadFull(p.in, got)
			check(t, err)
			if string(got) != string(turn.bytes) {
				t.Fatalf("frame %d is\n%swant\n%s", i, hex.Dump(got), hex.Dump(turn.bytes))
			}
		}
	})
}
