package invokerhook_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// The wall's clock is set, forth and back by hours, with a lease on its way: leases are renewed as before,
// and nobody is lost.
func TestClockJumps(t *testing.T) {
	var jump atomic.Int64
	s := newSite(t, func(c *invokerhook.Config) {
		c.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(jump.Load())) }
	})
	workers := s.staff(1000)
	for _, to := range []time.Duration{time.Hour, -time.Hour, 0} {
		for _, stage := range []string{"in", "out"} {
			p := workers[stage]
			var release control.Release
			p.await(control.TypeRelease, &release)
			s.complete(p.lease.activation)
			f := s.next()
			jump.Store(int64(to))
			if f.token.Stage != stage {
				t.Fatalf("a lease of %s while %s waits for one", f.token.Stage, stage)
			}
			if r := p.bring(f); r.Verdict != control.Renewed {
				t.Fatalf("clock set by %v: the renewal of %s is answered with %s: %s", to, stage, r.Verdict, r.Reason)
			}
		}
	}
	s.until("renewed at no cost", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Moves == 0 && st.Restarts == 0 && st.Renewals == 6
	})
}
