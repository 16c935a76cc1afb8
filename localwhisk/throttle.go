package localwhisk

import (
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// throttle counts a namespace's calls by clock minute.
type throttle struct {
	allowed int // in a minute
	now     func() time.Time

	mu     sync.Mutex
	minute int64
	count  int
}

func newThrottle(allowed int, now func() time.Time) *throttle {
	return &throttle{allowed: allowed, now: now}
}

// check counts one call, also one that it turns away. The error is a 429.
func (t *throttle) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.now().Unix() / 60; m != t.minute {
		t.minute, t.count = m, 0
	}
	if t.count++; t.count > t.allowed {
		return fail(429, fmt.Sprintf("Too many requests in the last minute (count: %d, allowed: %d).", t.count, t.allowed))
	}
	return nil
}

// admit counts one call of an action. The error is a 429 and comes with the
// name of the limit's metric.
func (c *controller) admit(inFlight int) (metric string, err error) {
	if err := c.throttle.check(); err != nil {
		return openwhisk.MetricTimedRateLimit, err
	}
	if allowed := c.p.cfg.Limits.ConcurrentInvocations; inFlight >= allowed {
		return openwhisk.MetricConcurrentRateLimit, fail(429, fmt.Sprintf(
			"Too many concurrent requests in flight (count: %d, allowed: %d).", inFlight, allowed))
	}
	return "", nil
}
