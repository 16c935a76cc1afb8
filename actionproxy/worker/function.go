package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/internal/control"
)

const (
	startTimeout = time.Minute            // of a function process, like the platform's /init
	firstRestart = 100 * time.Millisecond // back-off, doubling
	lastRestart  = 5 * time.Second
	maxDeaths    = 5 // in a row, without an event done and without one to blame
)

// function keeps a stage's function process alive. It belongs to one goroutine.
type function struct {
	slot   *slot
	deaths int // in a row, without an event done between them
}

// alive gives the process, or another one if it has died unnoticed before the lease.
func (f *function) alive(ctx context.Context) (*process.Process, error) {
	p := f.slot.fn.Process()
	select {
	case <-p.Done():
		return f.restart(ctx)
	default:
		return p, nil
	}
}

// replace starts another process after the one before has died. A stage with state has lost it: that is
// the brain's to repair, and an error here.
func (f *function) replace(ctx context.Context, reason string) (*process.Process, error) {
	if f.slot.stage.Stateful {
		return nil, fmt.Errorf("the function of stage %s died (%s), and its state with it", f.slot.stage.Name, reason)
	}
	if f.deaths > 0 {
		if err := pause(ctx, min(firstRestart<<min(f.deaths-1, 10), lastRestart)); err != nil {
			return nil, err
		}
	}
	f.deaths++
	f.slot.restarts.Add(1)
	f.slot.logs.say("function restarted: %s", reason)
	p, err := f.restart(ctx)
	if err == nil {
		f.slot.tell(control.TypeRestarted, reason)
	}
	return p, err
}

func (f *function) restart(ctx context.Context) (*process.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := f.slot.fn.Restart(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the function of stage %s: %w", f.slot.stage.Name, err)
	}
	return p, nil
}

// worked says that an event was done: what comes is no crash loop.
func (f *function) worked() { f.deaths = 0 }

// hopeless is true when the process dies again and again though no event can be blamed.
func (f *function) hopeless() bool { return f.deaths >= maxDeaths }

// whyDead waits for the end of a process and says what it was. stalled goes before that.
func whyDead(p *process.Process, stalled string) string {
	if stalled != "" {
		p.Kill()
	}
	<-p.Done()
	if stalled != "" {
		return stalled
	}
	return firstLines(p.ExitReason())
}

// firstLines keeps a reason short: last words can be a whole stack.
func firstLines(s string) string {
	const most = 300
	s = strings.TrimSpace(s)
	if len(s) > most {
		s = s[:most/3] + " … " + s[len(s)-2*most/3:]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// exited reports whether an Exchange failed because the process is gone.
func exited(p *process.Process, err error) bool {
	if errors.Is(err, process.ErrExited) {
		return true
	}
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}
