package invokerhook

import (
	"bytes"
	"encoding/json"
	"testing"
)

// newTestVault has the cluster keys that are 32 bytes of each number.
func newTestVault(t testing.TB, keys ...byte) *vault {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, bytes.Repeat([]byte{k}, 32))
	}
	v, err := newVault(all)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSeal(t *testing.T) {
	want := record{Host: "h", Term: 7, Snapshot: []byte(`{"keySeed":"1"}`), APIKey: "uuid:key", CA: []byte("ca")}
	value, err := newTestVault(t, 1).seal("guest/p", want)
	if err != nil {
		t.Fatal(err)
	}
	rotated := newTestVault(t, 2, 1)
	got, err := rotated.open("guest/p", value)
	if err != nil || got.APIKey != want.APIKey || got.Term != 7 || got.Host != "h" || !bytes.Equal(got.Snapshot, want.Snapshot) || !bytes.Equal(got.CA, want.CA) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := newTestVault(t, 2).open("guest/p", value); err == nil {
		t.Error("opened with another key")
	}
	// A record can't be moved to a pipeline that its thief owns.
	if _, err := rotated.open("other/p", value); err == nil {
		t.Error("opened under another name")
	}
	for i := range value {
		broken := bytes.Clone(value)
		broken[i] ^= 1
		if got, err := rotated.open("guest/p", broken); err == nil && got.Term != 7 {
			t.Fatalf("opened with byte %d changed: %s", i, broken)
		}
	}
}

// TestSealCoversTheTerm: who could raise it would fence the owner, who lowers it lets an old one live.
func TestSealCoversTheTerm(t *testing.T) {
	v := newTestVault(t, 1)
	value, err := v.seal("guest/p", record{Term: 7})
	if err != nil {
		t.Fatal(err)
	}
	var s sealed
	if err := json.Unmarshal(value, &s); err != nil || s.Term != 7 {
		t.Fatalf("%s: %v", value, err)
	}
	s.Term = 8
	forged, _ := json.Marshal(s)
	if _, err := v.open("guest/p", forged); err == nil {
		t.Error("opened with another term")
	}
	s.Term, s.Sealed[20] = 7, s.Sealed[20]^1
	forged, _ = json.Marshal(s)
	if _, err := v.open("guest/p", forged); err == nil {
		t.Error("opened with a changed record")
	}
}

// FuzzRecord reads arbitrary records, as a registry that others can write to may have: a fault, never
// a panic or a record that we haven't sealed.
func FuzzRecord(f *testing.F) {
	v := newTestVault(f, 1)
	f.Add("guest/p", []byte(`{"version":2,"term":1,"sealed":"AAAA"}`))
	f.Add("guest/p", []byte(`{"version":1,"host":"h","term":1,"snapshot":"e30=","sealed":"AAAA"}`))
	f.Add(markerPrefix, []byte(nil))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		out := map[string]record{}
		v.keep(out, name, value)
		for _, rec := range out {
			if rec.fault == nil {
				t.Errorf("a record out of nothing: %q", value)
			}
		}
	})
}
