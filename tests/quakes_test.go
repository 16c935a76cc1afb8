package tests

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestQuakes runs the example on public data as its README says, and counts again.
func TestQuakes(t *testing.T) {
	need(t, "python3", "Python 3")
	need(t, "npm", "npm, which fetches the data")
	dir := example(t, "quakes")
	drawn, err := os.ReadFile(filepath.Join(dir, "map.svg"))
	if err != nil {
		t.Fatal(err)
	}
	w := makeIn(t, dir, "run", "WEFT="+filepath.Join(bin, "weft"))
	if code := w.wait(4 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got, want := jsonLines(w.stdout.String()), shown(t, dir); got != want {
		t.Errorf("got\n%swant, as its README has it,\n%s", got, want)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "map.svg")); !bytes.Equal(b, drawn) {
		t.Error("the map is another one than the README shows")
	}
	result, err := os.ReadFile(filepath.Join(dir, "build/regions.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	quakes, strongest := countQuakes(t, filepath.Join(dir, "build/quakes.ndjson"))
	for _, r := range ndjson[struct {
		Region    string
		Quakes    int
		Strongest float64
	}](t, string(result)) {
		if r.Quakes != quakes[r.Region] || r.Strongest != strongest[r.Region] {
			t.Errorf("%+v; want %d, %v", r, quakes[r.Region], strongest[r.Region])
		}
		delete(quakes, r.Region)
	}
	if len(quakes) > 0 {
		t.Errorf("not in the result: %v", quakes)
	}
}

// countQuakes counts the earthquakes of each region, and finds the strongest.
func countQuakes(t *testing.T, file string) (quakes map[string]int, strongest map[string]float64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	quakes, strongest = map[string]int{}, map[string]float64{}
	names := map[string]string{"CA": "California", "NV": "Nevada", "MX": "Mexico"}
	for d := json.NewDecoder(f); d.More(); {
		var q struct {
			Properties struct {
				Mag         float64
				Place, Type string
			}
		}
		if err := d.Decode(&q); err != nil {
			t.Fatal(err)
		}
		p := q.Properties
		if p.Type != "earthquake" {
			continue
		}
		region := p.Place[strings.LastIndex(p.Place, ", ")+1:]
		region = strings.TrimPrefix(region, " ")
		if full, ok := names[region]; ok {
			region = full
		}
		if quakes[region]++; quakes[region] == 1 || p.Mag > strongest[region] {
			strongest[region] = p.Mag
		}
	}
	return quakes, strongest
}
