package control_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/internal/control"
)

var (
	oldKey = bytes.Repeat([]byte{1}, 32)
	newKey = bytes.Repeat([]byte{2}, 32)
)

// TestTokenHoldsForWhatItSays changes one thing at a time: whatever it is, the token is refused.
func TestTokenHoldsForWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z./]{0,6}`)
		now := time.UnixMilli(rapid.Int64Range(0, 1<<45).Draw(t, "now"))
		left := time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "left")) * time.Millisecond
		good := control.SignToken(oldKey, text.Draw(t, "namespace"), text.Draw(t, "pipeline"), text.Draw(t, "stage"), strings.Repeat("1", 32), now.Add(left))
		if err := good.Verify([][]byte{newKey, oldKey}, good.Namespace, now); err != nil {
			t.Fatalf("a good token: %v", err)
		}
		bad, at, ns := good, now, good.Namespace
		other := text.Draw(t, "other")
		switch rapid.IntRange(0, 7).Draw(t, "change") {
		case 0:
			bad.Namespace = other
			ns = other
		case 1:
			bad.Pipeline = other
		case 2:
			bad.Stage = other
		case 3:
			// Moving letters between neighbours keeps their sum.
			bad.Pipeline, bad.Stage = bad.Pipeline+bad.Stage, ""
		case 4:
			bad.ID = strings.Repeat("0", 32)
		case 5:
			bad.ExpiresMS++
		case 6:
			at = now.Add(left + time.Millisecond)
		case 7:
			ns = other
		}
		if bad == good && at.Equal(now) && ns == good.Namespace {
			t.Skip("nothing changed")
		}
		if err := bad.Verify([][]byte{newKey, oldKey}, ns, at); !errors.Is(err, control.ErrToken) {
			t.Fatalf("%+v of %+v: %v", bad, good, err)
		}
	})
}

func TestTokenSurvivesJSONAndRotation(t *testing.T) {
	now := time.Now()
	b, err := json.Marshal(control.SignToken(oldKey, "guest", "p", "s", strings.Repeat("a", 32), now.Add(time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	var tok control.Token
	if err := json.Unmarshal(b, &tok); err != nil {
		t.Fatal(err)
	}
	if err := tok.Verify([][]byte{newKey, oldKey}, "guest", now); err != nil {
		t.Fatal(err)
	}
	if err := tok.Verify([][]byte{newKey}, "guest", now); !errors.Is(err, control.ErrToken) {
		t.Fatalf("after the rotation: %v", err)
	}
	for _, mac := range []string{"", "zz", tok.MAC[2:], tok.MAC + "00"} {
		broken := tok
		broken.MAC = mac
		if err := broken.Verify([][]byte{oldKey}, "guest", now); !errors.Is(err, control.ErrToken) {
			t.Errorf("MAC %q: %v", mac, err)
		}
	}
}
