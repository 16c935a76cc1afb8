package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTrapsHaveTheirTests: what docs/traps.md names is there, and no trap is left out.
func TestTrapsHaveTheirTests(t *testing.T) {
	text, err := os.ReadFile("../docs/traps.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(source, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(text), -1) {
		if !there[m[1]] {
			t.Errorf("docs/traps.md names %s, which is no test", m[1])
		}
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|[^|]+\|[^|]+\| .*Test`).FindAllStringSubmatch(strings.Split(string(text), "## Attacks")[0], -1)
	if len(rows) != 40 {
		t.Errorf("%d of 40 traps have a test", len(rows))
	}
}
