package localwhisk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// containerPort is where every action container serves.
const containerPort = "8080"

// errNoLength is an answer that the platform takes for none: chunked, or 204.
var errNoLength = errors.New("localwhisk: the container answered without a Content-Length")

// errThaw is in the error of a container that can't be resumed.
var errThaw = errors.New("localwhisk: resume container")

// container is one action container. The run that holds it owns it; the pool
// owns it in between.
type container struct {
	p         *Platform
	number    int // counts starts
	order     order
	sentinels bool // an activation's output ends with them
	client    *http.Client
	log       zerolog.Logger
	box       atomic.Pointer[box] // nil until started
	gone      sync.Once

	initialised bool // by the holder

	freezer sync.Mutex // one pause or resume at a time
	paused  atomic.Bool

	// Guarded by the pool's lock.
	action string // what it is bound to; empty: prewarmed
	memory int    // MB
	timer  *time.Timer
	turn   int // counts takings, so that a late timer knows it is late
}

func (p *Platform) newContainer(number int, name string, r Runtime, memory int, logsOff bool) *container {
	name = fmt.Sprintf("%s%d_%s", p.engine.prefix(), number, name)
	log := p.cfg.Logger.With().Str("container", name).Logger()
	return &container{p: p, number: number, memory: memory, log: log, sentinels: !r.NoSentinels,
		order: order{name: name, runtime: r, memory: memory, logsOff: logsOff, log: log},
		// The platform opens a TCP connection per call.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
}

// start launches the container. It is not known to listen yet: /init is tried
// until it does.
func (c *container) start() error {
	b, err := c.p.engine.start(c.order)
	if err != nil {
		return fmt.Errorf("localwhisk: start container %s: %w", c.order.name, err)
	}
	c.box.Store(&b)
	return nil
}

// started is the container's box; nil until it is started.
func (c *container) started() box {
	if b := c.box.Load(); b != nil {
		return *b
	}
	return nil
}

// output is where the container's log lines are.
func (c *container) output() logSource {
	if b := c.started(); b != nil {
		return b.output()
	}
	return newLogBuffer(false, c.log) // it has printed nothing
}

// exhausted tells whether a broken call means that memory has run out.
func (c *container) exhausted() bool {
	b := c.started()
	return b != nil && b.exhausted()
}

// ended tells whether the started container has ended by itself.
func (c *container) ended() bool {
	select {
	case <-c.started().exited():
		return true
	default:
		return false
	}
}

// pause freezes the container if still is true once nothing else freezes or
// thaws it.
func (c *container) pause(still func() bool) error {
	c.freezer.Lock()
	defer c.freezer.Unlock()
	b := c.started()
	if b == nil || c.paused.Load() || !still() {
		return nil
	}
	if err := b.pause(); err != nil {
		return fmt.Errorf("localwhisk: pause container %s: %w", c.order.name, err)
	}
	c.paused.Store(true)
	return nil
}

// resume lets a paused container go on.
func (c *container) resume() error {
	c.freezer.Lock()
	defer c.freezer.Unlock()
	b := c.started()
	if b == nil || !c.paused.Load() {
		return nil
	}
	if err := b.resume(); err != nil {
		return fmt.Errorf("%w %s: %w", errThaw, c.order.name, err)
	}
	c.paused.Store(false)
	return nil
}

// remove ends the container.
func (c *container) remove() {
	c.gone.Do(func() {
		c.freezer.Lock()
		defer c.freezer.Unlock()
		if b := c.started(); b != nil {
			b.remove()
		}
	})
}

// post makes one call on a connection of its own. keep bounds the body kept.
func (c *container) post(ctx context.Context, path string, body []byte, keep int64) reply {
	url := "http://" + net.JoinHostPort(c.started().ip(), containerPort) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	if resp.ContentLength < 0 || resp.StatusCode == http.StatusNoContent {
		return reply{status: resp.StatusCode, err: errNoLength}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, keep))
	if err == nil && resp.ContentLength > keep {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return reply{status: resp.StatusCode, body: b, length: resp.ContentLength, err: err}
}
