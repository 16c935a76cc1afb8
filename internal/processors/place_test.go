package processors_test

import (
	"math/bits"
	"os/exec"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/weft-stream/weft/internal/processors"
)

func anyNumber(int) {}

// mask is where the caller's thread may run.
func mask(t *testing.T) (m [16]uint64) {
	t.Helper()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m))); errno != 0 {
		t.Fatal(errno)
	}
	return m
}

func count(m [16]uint64) (n int) {
	for _, word := range m {
		n += bits.OnesCount64(word)
	}
	return n
}

func newPlace(t *testing.T) *processors.Place {
	t.Helper()
	p := processors.NewPlace(anyNumber)
	if p == nil {
		t.Skip("there is one processor only: run on a machine with two")
	}
	t.Cleanup(p.Default)
	return p
}

// A process that does little stays where its like are; with more to do, or where others are in the way, it may go
// anywhere.
func TestPlace(t *testing.T) {
	all := mask(t)
	p := newPlace(t)
	var waited time.Duration
	var times uint64
	programs := false
	p.Kernel(func() (time.Duration, uint64, bool) { return waited, times, programs })
	now, used := time.Unix(1, 0), time.Duration(0)
	times = 1
	p.Look("ns/a", used, now)
	if count(mask(t)) != 1 {
		t.Fatal("it does not begin in its place")
	}
	for i, step := range []struct {
		what  string
		used  time.Duration // in a second
		times uint64
		wait  time.Duration // each time
		took  time.Duration
		full  bool
		want  bool
	}{
		{what: "little", used: 50 * time.Millisecond, times: 1000, wait: 5 * time.Microsecond, want: true},
		{what: "too much", used: 400 * time.Millisecond, times: 1000},
		{what: "little, too soon after", used: 10 * time.Millisecond, times: 1000},
		{what: "little", used: 10 * time.Millisecond, times: 1000, took: time.Minute, want: true},
		{what: "others are in the way", used: 10 * time.Millisecond, times: 1000, wait: 100 * time.Microsecond},
		{what: "little", used: 10 * time.Millisecond, times: 1000, took: time.Minute, want: true},
		{what: "nothing", times: 3},
		{what: "little again", used: 10 * time.Millisecond, times: 1000, want: true},
		{what: "many at once", full: true},
		{what: "little", used: 10 * time.Millisecond, times: 1000, took: time.Minute, want: true},
	} {
		if step.full {
			p.Full()
		} else {
			seconds := max(step.took, time.Second) / time.Second
			now = now.Add(seconds * time.Second)
			used += step.used * seconds
			times += step.times * uint64(seconds)
			waited += step.wait * time.Duration(step.times) * seconds
			p.Look("ns/a", used, now)
		}
		if held := count(mask(t)) == 1; held != step.want {
			t.Errorf("step %d, %s: in its place %v, want %v", i, step.what, held, step.want)
		}
	}
	programs = true
	now, times = now.Add(time.Second), times+1000
	p.Look("ns/a", used, now)
	if mask(t) != all {
		t.Error("programs that it starts would inherit its place")
	}
}

// Those of one name are in one place, whoever else there is.
func TestPlaceOfMany(t *testing.T) {
	places := map[[16]uint64]bool{}
	for _, name := range []string{"ns/a", "ns/b", "ns/c", "ns/d", "other/a", "other/b", "other/c", "other/d"} {
		var at [16]uint64
		for again := range 2 {
			p := newPlace(t)
			p.Kernel(func() (time.Duration, uint64, bool) { return 0, 1, false })
			p.Look(name, 0, time.Unix(1, 0))
			if again > 0 && mask(t) != at {
				t.Errorf("two of %s are not in one place", name)
			}
			at = mask(t)
			p.Default()
		}
		places[at] = true
	}
	if len(places) < 2 {
		t.Error("all names have one place")
	}
}

// What the kernel says of a process that has started a program keeps it free.
func TestPlaceOfPrograms(t *testing.T) {
	p := newPlace(t)
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	p.Look("ns/a", 0, time.Unix(1, 0))
	if count(mask(t)) == 1 {
		t.Error("its program would inherit its place")
	}
}

func TestPlaceIsTheUsers(t *testing.T) {
	p := processors.NewPlace(nil)
	p.Look("ns/a", 0, time.Unix(1, 0))
	p.Full()
	p.Default()
	if p != nil {
		t.Error("a place, though the user has said how many processors")
	}
}
