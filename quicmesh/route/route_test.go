package route_test

import (
	"fmt"
	"testing"

	"github.com/weft-stream/weft/quicmesh/route"
	"pgregory.net/rapid"
)

// One slot more: the groups that move are those the new slot gets, and no others.
func TestTableMovesTheFewestGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 100).Draw(t, "replicas")
		before, after := route.NewTable(n), route.NewTable(n+1)
		for group := range before {
			if before[group] != after[group] && int(after[group]) != n {
				t.Fatalf("group %d moved from slot %d to slot %d when slot %d came", group, before[group], after[group], n)
			}
			if int(before[group]) >= n {
				t.Fatalf("group %d is on slot %d of %d", group, before[group], n)
			}
		}
	})
}

func TestTableIsFair(t *testing.T) {
	for _, n := range []int{2, 4, 8, 16} {
		var groups [16]int
		for _, slot := range route.NewTable(n) {
			groups[slot]++
		}
		for slot := range n {
			if fair := route.Groups / n; groups[slot] < fair/3 || groups[slot] > 3*fair {
				t.Errorf("slot %d of %d has %d groups", slot, n, groups[slot])
			}
		}
	}
}

// These choices say where the state of running pipelines lies; SDKs and old releases make the same.
func TestChoicesStayAsTheyAre(t *testing.T) {
	want := []string{"0 0", "user-1 148 2", "user-2 29 0", "ключ 126 0"}
	got := []string{fmt.Sprint(route.KeyGroup(0), " ", route.NewTable(1).Slot(0))}
	for _, key := range []string{"user-1", "user-2", "ключ"} {
		hash := route.KeyHash([]byte(key), 42)
		got = append(got, fmt.Sprint(key, " ", route.KeyGroup(hash), " ", route.NewTable(3).Slot(hash)))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestPickerGivesTwoDifferentOnes(t *testing.T) {
	for n := 2; n < 20; n++ {
		p := route.NewPicker(uint64(n))
		seen := make([]int, n)
		for range 1000 {
			a, b := p.Two(n)
			if a == b || a >= n || b >= n || a < 0 || b < 0 {
				t.Fatalf("Two(%d) = %d, %d", n, a, b)
			}
			seen[a]++
			seen[b]++
		}
		for i, times := range seen {
			if times < 1000/n {
				t.Errorf("%d of %d picked %d times in 1000 pairs", i, n, times)
			}
		}
	}
	p := route.NewPicker(0)
	if a, b := p.Two(1); a != 0 || b != 0 {
		t.Errorf("Two(1) = %d, %d", a, b)
	}
}
