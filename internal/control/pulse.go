package control

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/internal/shm"
)

// PulseEvery is how often a proxy shows that it runs: on a connection over a Unix socket by a word in memory
// that the hook has made and handed over with HelloReply, else by a message. Each wakes a process that may have
// nothing else to do: it is seldom, and the hook asks the kernel meanwhile.
const PulseEvery = time.Second

// pulseSize is the least that can be shared, in bytes; the word is the first.
const pulseSize = 4096

// Pulse is the word. Whoever has mapped it may write any number into it: it tells that it changes, nothing
// else.
type Pulse struct {
	memory *shm.Memory
	beats  *atomic.Uint64
}

// NewPulse makes a word, and the file to hand over; both are the caller's to close.
func NewPulse() (*Pulse, *os.File, error) {
	f, err := shm.Create("weft-pulse", pulseSize)
	if err != nil {
		return nil, nil, err
	}
	p, err := mapPulse(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return p, f, nil
}

// OpenPulse maps the word that a hook has handed over, and closes the file.
func OpenPulse(f *os.File) (*Pulse, error) {
	p, err := mapPulse(f)
	return p, errors.Join(err, f.Close())
}

func mapPulse(f *os.File) (*Pulse, error) {
	m, err := shm.Map(f, pulseSize)
	if err != nil {
		return nil, err
	}
	return &Pulse{m, m.Word64(0)}, nil
}

// Beat shows that the proxy runs.
func (p *Pulse) Beat() { p.beats.Add(1) }

// Count is what the word says now.
func (p *Pulse) Count() uint64 { return p.beats.Load() }

// Close unmaps the word; nothing may be called after it.
func (p *Pulse) Close() error { return p.memory.Close() }
