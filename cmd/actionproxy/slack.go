package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may be with a sleep. Go's monitor thread sleeps for 20 µs at a time while
// anything runs: ten wake-ups for an event that comes alone, more than the event itself costs.
const timerSlack = 500 * time.Microsecond

// relax lets this process's sleeps be late. A thread's slack is that of the thread that has started it, and
// the runtime has started some before main: the program begins again, once. Where that can't be had it goes
// on as it is.
func relax() {
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || now >= int(timerSlack) {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) == nil {
		_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
}
