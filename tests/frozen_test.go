package tests

import (
	"syscall"
	"testing"
)

// TestFrozenWorker stops a worker with its function, as a freezer does: its connections stay open, and it
// says nothing. Another takes its slot; thawed, it can change nothing.
func TestFrozenWorker(t *testing.T) {
	f := feed(t, stateless, nil)
	st := f.running()
	f.flows()
	group := -slotOf(t, st, "py[0]").PID
	if err := syscall.Kill(group, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.explained("py[0]", "slot lost", "frozen")
	f.explained("py[0]", "slot taken", "incarnation 2")
	f.flows()
	if err := syscall.Kill(group, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.flows()
	f.complete()
}
