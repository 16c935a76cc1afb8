package shmring

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A sleep word's values, beside 0.
const (
	onBell = 1 // who sleeps wants the bell
	onWord = 2 // who sleeps waits for the word itself, a futex: the reader only
)

const (
	holdGap  = 10 * time.Millisecond // bytes that come further apart are waited for on the bell
	holdMost = 20 * time.Millisecond // one held wait
	// holdBusy is how long others of the process have worked, when the processor is better not kept from them.
	holdBusy = 50 * time.Microsecond
)

// pace is how far apart the bytes come that a reader has slept for.
type pace struct {
	last time.Time
	gap  time.Duration
}

const paceMost = 100 * time.Millisecond // unknown, or longer than matters

func (p *pace) came() {
	now := time.Now()
	p.gap += (min(now.Sub(p.last), paceMost) - p.gap) / 8
	p.last = now
}

// hold sleeps for bytes that come often, on the word and without telling Go's runtime: this thread keeps its place to
// run goroutines, so that the wake leads straight back here, and neither the poller nor the monitor thread wakes for it.
// The process has nothing better to do, or it would not be alone. false: sleep on the bell.
func (s *stream) hold() bool {
	if s.pace.gap > holdGap {
		return false
	}
	if runtime.GOMAXPROCS(0) == 1 { // whoever wants to run, does it now
		begin := time.Now()
		runtime.Gosched()
		if time.Since(begin) > holdBusy {
			return s.awake()
		}
	}
	word := s.in.readerSleep
	word.Store(onWord)
	if s.awake() {
		word.Store(0)
		return true
	}
	s.naps.Add(1)
	errno := futexWait(word, onWord, holdMost)
	word.Store(0)
	switch errno {
	case syscall.ETIMEDOUT:
		return false
	case syscall.EINTR: // the runtime wants something of this thread, and gets it now
	default:
		s.woken()
	}
	return true
}

// futexWait returns when the word was rung, had another value, or after wait.
func futexWait(word *atomic.Uint32, value uint32, wait time.Duration) syscall.Errno {
	ts := syscall.NsecToTimespec(int64(wait))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0 /* FUTEX_WAIT */, uintptr(value), uintptr(unsafe.Pointer(&ts)), 0, 0)
	return errno
}

// futexWake wakes who waits for the word.
func futexWake(word *atomic.Uint32) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
}
