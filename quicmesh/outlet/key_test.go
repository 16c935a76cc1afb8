package outlet

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

// theirs is a key as gjson finds it.
func theirs(payload, path string) (string, bool) {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		parts[i] = gjson.Escape(p)
	}
	v := gjson.Get(payload, strings.Join(parts, "."))
	return v.String(), v.Exists() && v.Type != gjson.Null
}

func compare(t interface{ Fatalf(string, ...any) }, payload, path string) {
	k := newKeyPath(path)
	got, err := k.of([]byte(payload))
	want, ok := theirs(payload, path)
	if (err == nil) != ok || err == nil && string(got) != want {
		t.Fatalf("%s in %s: %q, %v; want %q, %v", path, payload, got, err, want, ok)
	}
}

// names are few, so that paths lead somewhere, and of every kind.
var names = rapid.SampledFrom([]string{"a", "b", "0", "1", "12", "é", "a b", "#", "*", "@this", "x|y", `q"`, `\`, "\t", "😀"})

func values(depth int) *rapid.Generator[string] {
	text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	scalar := rapid.OneOf(
		rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "1.50", "1e3", "-2E-7", "1e400", "123456789012345678901", `""`,
			`"\ud800"`, `"\udc80x"`, `"\ud83d\ude00"`, `"\ud83d\u0041"`, `"a\/b"`, `"\b\f\n\r\t\"\\"`, `"\ud800\\u"`}),
		rapid.Map(rapid.String(), func(s string) string { return text(strings.ToValidUTF8(s, "")) }),
		rapid.Map(rapid.Float64(), func(f float64) string { return text(f) }),
	)
	if depth == 0 {
		return scalar
	}
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", " ", "\n\t"})
		var b strings.Builder
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return scalar.Draw(t, "scalar")
		case 1:
			b.WriteString("[" + space.Draw(t, "space"))
			for i := range rapid.IntRange(0, 3).Draw(t, "elements") {
				if i > 0 {
					b.WriteString("," + space.Draw(t, "space"))
				}
				b.WriteString(values(depth-1).Draw(t, "element") + space.Draw(t, "space"))
			}
			return b.String() + "]"
		}
		return object(depth).Draw(t, "object")
	})
}

func object(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", " ", "\r\n"})
		var b strings.Builder
		b.WriteString("{" + space.Draw(t, "space"))
		for i := range rapid.IntRange(0, 4).Draw(t, "fields") {
			if i > 0 {
				b.WriteString("," + space.Draw(t, "space"))
			}
			name, _ := json.Marshal(names.Draw(t, "name"))
			b.WriteString(string(name) + space.Draw(t, "space") + ":" + space.Draw(t, "space") + values(depth-1).Draw(t, "value") + space.Draw(t, "space"))
		}
		return b.String() + "}"
	})
}

// An event's key has been what gjson finds; the slots that hold keys' states rely on it.
func TestKeysAreGJSONs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := object(3).Draw(t, "payload")
		if !json.Valid([]byte(payload)) {
			t.Fatalf("the generator made %s", payload)
		}
		compare(t, payload, strings.Join(rapid.SliceOfN(names, 1, 4).Draw(t, "path"), "."))
	})
}

func TestKeyOfWhatIsNoJSON(t *testing.T) {
	for _, payload := range []string{"", " ", "no JSON", "{", `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":"x\`, `{"a" 1}`, `{"a":{"b":[1,{`, "[", "[1", "nul"} {
		for _, path := range []string{"a", "a.b", "a.b.1", "0"} {
			k := newKeyPath(path)
			_, _ = k.of([]byte(payload)) // whatever it gives, it comes back
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add([]byte(`{"a":{"b":["\ud83d\ude00",1.5]}}`), "a.b.1")
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		k := newKeyPath(path)
		_, _ = k.of(payload)
	})
}

func BenchmarkKey(b *testing.B) {
	payload, k := []byte(`{"line":"the quick brown fox","user":{"name":"x","id":"u17"}}`), newKeyPath("user.id")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.of(payload); err != nil {
			b.Fatal(err)
		}
	}
}
