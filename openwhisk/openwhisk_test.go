package openwhisk_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{
		"a": "guest/a", "p/a": "guest/p/a", "/_/a": "guest/a", "/ns/a": "ns/a", "/ns/p/a": "ns/p/a", "ns/p/a": "ns/p/a",
	} {
		n, err := openwhisk.ParseName(text)
		if err != nil || n.In("guest").String() != want {
			t.Errorf("%q: got %v, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "/", "/a", "a/", "//a", "a/b/c/d", "-a", "ä", "a?b", "a//b"} {
		if n, err := openwhisk.ParseName(text); !errors.Is(err, openwhisk.ErrName) {
			t.Errorf("%q: got %+v, %v", text, n, err)
		}
	}
}

func TestKeyValues(t *testing.T) {
	kv := openwhisk.KeyValues{openwhisk.KV("a", 1), openwhisk.KV("b", false)}
	with := kv.With(openwhisk.KV("b", true), openwhisk.KV("c", "x"))
	if got, _ := json.Marshal(with); string(got) != `[{"key":"a","value":1},{"key":"b","value":true},{"key":"c","value":"x"}]` {
		t.Errorf("with: %s", got)
	}
	if kv.Truthy("b") || !with.Truthy("b") || with.Truthy("none") || with.Without("b").Truthy("b") {
		t.Error("truth of b")
	}
	if got, _ := json.Marshal(openwhisk.KeyValues(nil)); string(got) != "[]" {
		t.Errorf("empty: %s", got)
	}
}

func TestResponseForms(t *testing.T) {
	for _, text := range []string{`{"statusCode":1,"result":{"error":"x"}}`, `{"status":"application error","success":false,"result":{"error":"x"}}`} {
		var r openwhisk.Response
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.StatusCode != openwhisk.StatusApplicationError || r.Success() {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
		b, _ := json.Marshal(r)
		sameJSON(t, []byte(`{"status":"application error","success":false,"result":{"error":"x"}}`), b)
	}
	if err := json.Unmarshal([]byte(`{"status":"fine"}`), new(openwhisk.Response)); err == nil {
		t.Error("an unknown status passes")
	}
}

func TestWskProps(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".wskprops")
	if err := os.WriteFile(path, []byte("# mine\nAPIHOST=old\n\nAPIVERSION=v1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openwhisk.WriteWskProps(path, openwhisk.WskProps{"APIHOST": "http://127.0.0.1:1", "AUTH": "u:k=", "INSECURE_SSL": "true"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != "# mine\nAPIHOST=http://127.0.0.1:1\n\nAPIVERSION=v1\nAUTH=u:k=\nINSECURE_SSL=true\n" {
		t.Errorf("file:\n%s", b)
	}
	p, err := openwhisk.ReadWskProps(path)
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Config(); c.APIHost != "http://127.0.0.1:1" || c.Auth != "u:k=" || !c.Insecure {
		t.Errorf("config %+v", c)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("others can read the key: mode %v", st.Mode())
	}
	if _, err := openwhisk.ReadWskProps(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNewClientSaysWhatIsMissing(t *testing.T) {
	for _, c := range []openwhisk.Config{{}, {APIHost: "h"}, {APIHost: "http://", Auth: "a:b"}} {
		if _, err := openwhisk.NewClient(c); err == nil {
			t.Errorf("%+v passes", c)
		}
	}
}
