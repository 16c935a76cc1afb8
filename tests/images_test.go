package tests

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestExecutionEnvOfImages: an archive compiled for a stock image has that one's name in exec.env beside its
// exec. Weft's image runs it as it is, checks the name where the operator says which one it stands for, and
// tells the function.
func TestExecutionEnvOfImages(t *testing.T) {
	needDocker(t)
	image := images(t)["go:1.26-weft"]
	const stock = "openwhisk/action-golang-v1.24"
	action := archiveOf(t, map[string]string{"exec.env": stock + "\n", "exec": `#!/bin/sh
echo '{"ok":true}' >&3
while read -r line; do
  echo "{\"env\":\"$__OW_EXECUTION_ENV\",\"uid\":\"$(id -u)\"}" >&3
done
`})
	for name, c := range map[string]struct {
		env  string
		init int
		run  string
	}{
		"any":            {"", 200, `{"env":"","uid":"10001"}`},
		"the stock one":  {stock, 200, `{"env":"` + stock + `","uid":"10001"}`},
		"of another one": {"openwhisk/action-golang-v1.23", 502, ""},
	} {
		var args []string
		if c.env != "" {
			args = []string{"-e", "OW_EXECUTION_ENV=" + c.env}
		}
		id := docker(t, append(append([]string{"run", "-d"}, args...), image)...)
		t.Cleanup(func() { docker(t, "rm", "-f", id) })
		at := "http://" + docker(t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id) + ":8080"
		status, body := post(t, at+"/init", map[string]any{"value": map[string]any{"name": "a", "main": "main", "binary": true, "code": action}})
		if status != c.init {
			t.Errorf("%s: /init is answered %d %s, want %d", name, status, body, c.init)
			continue
		}
		if c.run == "" {
			if said := docker(t, "logs", id); !strings.Contains(said, stock) || !strings.Contains(said, c.env) {
				t.Errorf("%s: the log doesn't say what is wrong: %s", name, said)
			}
			continue
		}
		if status, body := post(t, at+"/run", map[string]any{"value": map[string]any{}}); status != 200 || body != c.run {
			t.Errorf("%s: /run is answered %d %s, want %s", name, status, body, c.run)
		}
	}
}

// archiveOf is an archive of files, base64.
func archiveOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: name}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text) // to memory
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// post sends JSON to a container, and again while nobody listens there yet, as an invoker does.
func post(t *testing.T, url string, body any) (int, string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r, err := http.Post(url, "application/json", bytes.NewReader(b))
		if err != nil && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		answer, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, strings.TrimSpace(string(answer))
	}
}
