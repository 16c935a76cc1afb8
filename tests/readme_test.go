package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of the README: its language and text.
var block = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// named is a block's first line when it is a whole file.
var named = regexp.MustCompile(`^(?:#|//) (\S+\.\w+)\n`)

// TestReadme does what the README says, in its order: files are written where it says, commands run
// in a fresh clone. Left out are make test, which is what runs this, and the measurements, which take long.
func TestReadme(t *testing.T) {
	need(t, "python3", "Python 3")
	need(t, "git", "git")
	need(t, "make", "make")
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		switch file := named.FindStringSubmatch(m[2]); {
		case m[1] == "sh":
			script.WriteString(m[2])
		case file != nil:
			script.WriteString("cat >" + file[1] + " <<'END OF FILE'\n" + m[2] + "END OF FILE\n")
		}
	}
	run := strings.NewReplacer("git clone https://github.com/weft-stream/weft", "git clone -q '"+root+"' weft",
		"make test ", ": ", "make bench ", ": ", "make compare ", ": ").Replace(script.String())
	cmd := exec.Command("sh", "-c", run)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, tail(stderr.String(), 4000), tail(string(out), 2000))
	}
	for _, want := range []string{`{"word":"the","count":9589}`, `{"word":"TENSION,","length":8}`, `{"word":"WARM","length":4}`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %s:\n%s", want, tail(string(out), 2000))
		}
	}
}
