package buf

import (
	"runtime"
	"slices"
	"sync"
	"syscall"
)

const (
	// mapFrom is where buffers have memory of their own from the system: it need not be cleared, and nobody waits
	// for the collector.
	mapFrom = 1 << 20
	// warmMost bounds what is kept for the next one, in bytes: memory that is new costs more than a copy.
	warmMost = 16 << 20
)

// large keeps released large buffers.
var large pool

type pool struct {
	mu   sync.Mutex
	warm []*Buf // the last one was released last
	held int    // bytes of warm
}

// take gives a buffer of a class; nil when the system has none.
func (p *pool) take(class, room int) *Buf {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.warm) - 1; i >= 0; i-- {
		if b := p.warm[i]; b.class == class {
			p.warm = slices.Delete(p.warm, i, i+1)
			p.held -= room
			return b
		}
	}
	all, err := syscall.Mmap(-1, 0, room, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	_ = syscall.Madvise(all, syscall.MADV_HUGEPAGE) // where there are none, small ones do
	b := &Buf{B: all[:0], class: class, mapped: true}
	b.cleanup = runtime.AddCleanup(b, unmap, all)
	return b
}

func unmap(all []byte) { _ = syscall.Munmap(all) }

// put takes a released buffer, and lets older ones go for it.
func (p *pool) put(b *Buf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warm, p.held = append(p.warm, b), p.held+cap(b.B)
	for p.held > warmMost {
		old := p.warm[0]
		p.warm = slices.Delete(p.warm, 0, 1)
		p.held -= cap(old.B)
		old.cleanup.Stop()
		unmap(old.B[:cap(old.B)])
		old.B = nil
	}
}
