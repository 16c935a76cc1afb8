package actionproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weft-stream/weft/actionproxy/process"
)

// Function is what /init made: a builtin's name, or a program and its running process.
type Function struct {
	Builtin string // of code weft:NAME; then there is no process

	config process.Config // starts another process of the same code and environment

	mu      sync.Mutex
	running *process.Process
}

// Process is the running process; nil for builtins. It may have died: see its Done.
func (f *Function) Process() *process.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// Restart replaces a dead or unwanted process by a new one of the same code and environment, which
// prints to where the old one did. The old one is gone when Restart begins with the new.
func (f *Function) Restart(ctx context.Context) (*process.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		return nil, errors.New("restart function: a builtin has no process")
	}
	config := f.config
	config.Stdout, config.Stderr = f.running.Output()
	f.running.Close()
	p, err := process.Start(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("restart function: %w", err)
	}
	f.running = p
	return p, nil
}

// Close ends the process.
func (f *Function) Close() {
	if p := f.Process(); p != nil {
		p.Close()
	}
}
