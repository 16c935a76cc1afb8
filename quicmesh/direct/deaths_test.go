package direct

import (
	"fmt"
	"strings"
	"testing"
)

// An event is blamed as often as it may kill, and no more.
func TestDeathsOfOneEvent(t *testing.T) {
	var d Deaths
	for i := range 5 {
		before := d.All()
		if got := d.Blame("a", fmt.Sprint("death ", i), 2); got != (i < 3) {
			t.Errorf("death %d: blamed is %v", i, got)
		}
		if i > 0 && len(before["a"]) != min(i, 3) {
			t.Errorf("what was given away before death %d has become %q", i, before)
		}
	}
	if got := fmt.Sprint(d.All()); got != "map[a:[death 0 death 1 death 2]]" {
		t.Errorf("remembered: %s", got)
	}
}

// However many events kill, and whatever their ids are, what is remembered fits into one message. The newest ones are.
func TestDeathsAreBounded(t *testing.T) {
	for _, length := range []int{10, MostID} {
		var d Deaths
		reason := strings.Repeat("r", 300)
		for i := range 3000 {
			id := fmt.Sprintf("%0*d", length, i)
			d.Blame(id, reason, 100)
			d.Blame(id, reason, 100)
			size := 0
			for id, history := range d.All() {
				size += len(id) + len(history)*len(reason)
			}
			if len(d.All()) > 1024 || size > 1<<20 || len(d.All()[id]) != 2 {
				t.Fatalf("after %d deaths %d events are remembered, %d bytes, and %d deaths of the last one", 2*i+2, len(d.All()), size, len(d.All()[id]))
			}
		}
		if n := len(d.All()); n < 250 {
			t.Errorf("only %d events are remembered", n)
		}
	}
}
