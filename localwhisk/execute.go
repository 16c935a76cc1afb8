package localwhisk

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// outcome is what became of a job in its container.
type outcome struct {
	response    openwhisk.Response
	start, end  time.Time
	initialised bool // /init was sent
	initTime    time.Duration
	timeout     bool
	again       bool // the container was gone or shutting down before it took the run
}

// execute starts or resumes the container as needed, initialises it once and
// runs the job.
func (in *invoker) execute(j *job, c *container) (o outcome) {
	warm := c.initialised
	o.start = in.p.cfg.Now()
	if err := in.prepare(j, c); errors.Is(err, errThaw) {
		in.p.cfg.Logger.Warn().Err(err).Msg("another container runs the action")
		o.again = true
		return o
	} else if err != nil {
		in.p.cfg.Logger.Error().Err(err).Str("action", j.action.name.String()).Msg("provide a container")
		o.response = notStarted(err)
		o.end = in.p.cfg.Now()
		return o
	}
	limit := time.Duration(j.action.limits.Timeout) * time.Millisecond
	o.start = in.p.cfg.Now()
	if !c.initialised {
		o.initialised = true
		ans := in.post(c, "/init", in.initBody(j, o.start.Add(limit)), limit)
		o.end, o.initTime = in.p.cfg.Now(), ans.took
		if failed := initResponse(ans, c, limit); failed != nil {
			o.response, o.timeout = *failed, ans.took >= limit
			return o
		}
		c.initialised = true
	}
	if warm && c.ended() { // a call would wait for an answer from an address that nobody has
		o.again, o.end = true, in.p.cfg.Now()
		return o
	}
	ans := in.post(c, "/run", in.runBody(j, in.p.cfg.Now().Add(limit)), limit)
	o.end = in.p.cfg.Now()
	if warm && (notConnected(ans.err) || ans.status == http.StatusServiceUnavailable) {
		o.again = true
		return o
	}
	o.timeout = ans.took >= limit
	o.response = in.runResponse(ans, c, limit)
	return o
}

// notStarted is the answer where there is no container: the action's fault
// only for its own image.
func notStarted(err error) openwhisk.Response {
	var pull errPull
	switch {
	case errors.As(err, &pull):
		return errorResponse(openwhisk.StatusDeveloperError, pull.Error())
	case strings.Contains(err.Error(), "executable file not found"): // Docker's words; its exit code would be 127
		return errorResponse(openwhisk.StatusDeveloperError, "The action did not initialize and exited unexpectedly.")
	}
	return errorResponse(openwhisk.StatusWhiskError, "Failed to provision resources to run the action.")
}

// prepare makes the container's process run.
func (in *invoker) prepare(j *job, c *container) error {
	if c.started() != nil {
		return c.resume()
	}
	if hold := in.p.cfg.Placement.Hold; hold != nil {
		if d := hold(j.action.name.String()); d > 0 {
			select {
			case <-time.After(d):
			case <-in.p.ctx.Done():
				return in.p.ctx.Err()
			}
		}
	}
	return c.start()
}

// notConnected tells whether a call has not even reached the container.
func notConnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !op.Timeout()
}

// reply is what came back from a container.
type reply struct {
	status int
	body   []byte // at most the payload limit
	length int64  // what the container announced
	err    error  // no valid answer came
	took   time.Duration
}

// post calls a container. Nobody listening yet is no error for /init: it is
// tried again until the limit.
func (in *invoker) post(c *container, path string, body []byte, limit time.Duration) (r reply) {
	begin := time.Now() // first: whoever meets the deadline has taken no less than the limit
	ctx, stop := context.WithTimeout(in.p.ctx, limit)
	defer stop()
	for {
		r = c.post(ctx, path, body, int64(in.p.cfg.Limits.PayloadBytes))
		r.took = time.Since(begin)
		if path != "/init" || !errors.Is(r.err, syscall.ECONNREFUSED) {
			return r
		}
		select {
		case <-time.After(time.Millisecond):
		case <-c.started().exited():
			return r
		case <-ctx.Done():
			return r
		}
	}
}
