package processors

import (
	"bytes"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Bounds of keeping a process on one processor.
const (
	placeShare = 0.125                 // of a processor: who uses more isn't put anywhere, who uses twice as much is let go
	placeRuns  = 50                    // a second: who runs less often isn't either
	placeDelay = 25 * time.Microsecond // from a wake to running, on average: above it another processor is sooner awake
	firstPause = 2 * time.Second       // after having been let go; doubled each time
	lastPause  = time.Minute
)

// Place is a process's place while it does little: one processor, the same for all that belong together. They
// wake each other, and a wake on one processor costs a third of one across two, of which the other sleeps. It lets the
// process go when there is work for more, or when others are in the way there. A process that starts programs is let
// go for good, and they with it, since they inherit its place. A nil Place does nothing.
type Place struct {
	allowed []int // processors, at first
	mask    cpus  // the same

	count    func() runs // ranSoFar
	programs func() bool // startsPrograms

	mu    sync.Mutex
	held  atomic.Bool // changed under mu
	at    time.Time
	used  time.Duration // of CPU, at the last look
	runs  runs          // at the last look
	pause time.Duration
	until time.Time // not before
}

// cpus is the kernel's set of processors.
type cpus [1024 / 64]uint64

// NewPlace begins free. set is as for New; nil when nobody has said how, or there is nothing to choose from.
func NewPlace(set func(n int)) *Place {
	p := &Place{pause: firstPause, count: ranSoFar, programs: startsPrograms}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(p.mask), uintptr(unsafe.Pointer(&p.mask)))
	for i := range 64 * len(p.mask) {
		if p.mask[i/64]>>(i%64)&1 != 0 {
			p.allowed = append(p.allowed, i)
		}
	}
	if set == nil || errno != 0 || len(p.allowed) < 2 {
		return nil
	}
	return p
}

// Look is told how much CPU time the process has used until now, and the name of those that belong together.
func (p *Place) Look(name string, used time.Duration, at time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.count()
	took := at.Sub(p.at).Seconds()
	share, ran, waited := (used-p.used).Seconds()/took, int64(now.times-p.runs.times), now.waited-p.runs.waited // less, if threads have ended
	first := p.at.IsZero()
	p.used, p.at, p.runs = used, at, now
	few := float64(ran) < placeRuns*took
	late := !few && waited > placeDelay*time.Duration(ran)
	switch held := p.held.Load(); {
	case first: // what it is to do isn't known yet
		if now.times > 0 && !p.programs() {
			p.hold(name)
		}
	case held && (few || late || share > 2*placeShare || p.programs()):
		p.free()
		if !few {
			p.until, p.pause = at.Add(p.pause), min(2*p.pause, lastPause)
		}
	case !held && !few && !late && share < placeShare && at.After(p.until) && !p.programs():
		p.hold(name)
	case held && at.Sub(p.until) > lastPause:
		p.pause = firstPause
	}
}

// Full is told that there is more to do than one thing after the other.
func (p *Place) Full() {
	if p != nil && p.held.Load() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held.Load() {
			p.free()
			p.until = p.at.Add(p.pause)
		}
	}
}

// Default lets the process run wherever it might at first.
func (p *Place) Default() {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free()
	}
}

func (p *Place) hold(name string) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	on := p.allowed[h.Sum32()%uint32(len(p.allowed))]
	var one cpus
	one[on/64] = 1 << (on % 64)
	p.held.Store(true)
	setThreads("self", &one)
}

func (p *Place) free() {
	if p.held.Swap(false) {
		setThreads("self", &p.mask)
		for _, child := range children() {
			setThreads(child, &p.mask)
		}
	}
}

// setThreads sets where all threads of a process may run. Those that start meanwhile inherit it, or are found by another
// look.
func setThreads(process string, to *cpus) {
	var before []os.DirEntry
	for range 8 {
		threads, err := os.ReadDir("/proc/" + process + "/task")
		if err != nil || slices.EqualFunc(threads, before, func(a, b os.DirEntry) bool { return a.Name() == b.Name() }) {
			return
		}
		before = threads
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil { // one that has ended meanwhile needs no place
				_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), unsafe.Sizeof(*to), uintptr(unsafe.Pointer(to)))
			}
		}
	}
}

// children are the programs that this process has started, and that run.
func children() (out []string) {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range files {
		b, _ := os.ReadFile(f) // of a thread that has ended meanwhile
		out = append(out, strings.Fields(string(b))...)
	}
	return out
}

// runs are how often a process's threads have run, and how long they have waited for it.
type runs struct {
	waited time.Duration
	times  uint64
}

// ranSoFar is zero where the kernel doesn't count.
func ranSoFar() (r runs) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return runs{}
	}
	for _, t := range threads {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/schedstat")
		if f := bytes.Fields(b); err == nil && len(f) == 3 {
			waited, _ := strconv.ParseInt(string(f[1]), 10, 64)
			times, _ := strconv.ParseUint(string(f[2]), 10, 64)
			r.waited += time.Duration(waited)
			r.times += times
		}
	}
	return r
}

// startsPrograms tells whether this process has children, or has had some that used the processor.
func startsPrograms() bool {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil || u.Utime.Nano()+u.Stime.Nano() > 0 {
		return true
	}
	// WNOWAIT leaves the child, if there is one, to whoever waits for it.
	const pAll, wExited, wNoHang, wNoWait = 0, 4, 1, 0x01000000
	_, _, errno := syscall.RawSyscall6(syscall.SYS_WAITID, pAll, 0, 0, wExited|wNoHang|wNoWait, 0, 0)
	return errno != syscall.ECHILD
}
