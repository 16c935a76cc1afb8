package attach

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds of one try to post, and of the pauses between two.
const (
	postTime   = 30 * time.Second
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// maxReason bounds what is told of an answer's body, in bytes.
const maxReason = 200

// HTTPOutput is where a sink's events are posted to.
type HTTPOutput struct {
	URL      string
	Name     string        // PIPELINE/STAGE, the beginning of each Idempotency-Key
	Patience time.Duration // how long a batch is tried again; 0: 1 minute
}

// Poster is an io.WriteCloser that posts what each Write gets, whole lines, as application/x-ndjson.
// What is answered with 429 or 5xx, or not at all, is posted again under the same Idempotency-Key;
// another answer than 2xx is an error. It is used by one goroutine, but for Close.
type Poster struct {
	cfg    HTTPOutput
	shown  string // the URL, as errors have it
	client *http.Client
	run    string // makes the keys of two runs differ
	posted int64  // bytes
	ctx    context.Context
	cancel context.CancelFunc
}

// New makes a Poster; nothing is sent yet.
func (c HTTPOutput) New() (*Poster, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("post events: %w", err)
	}
	c.Patience = cmp.Or(c.Patience, time.Minute)
	p := &Poster{cfg: c, shown: u.Redacted(), run: rand.Text()}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.client = &http.Client{Timeout: postTime, Transport: http.DefaultTransport.(*http.Transport).Clone(),
		// Most redirects turn a POST into a GET, and events are for the host that the spec names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, nil
}

// Close ends a Write that is under way.
func (p *Poster) Close() error {
	p.cancel()
	p.client.CloseIdleConnections()
	return nil
}

// Write posts b: all of it has been taken, or none is known to be.
func (p *Poster) Write(b []byte) (int, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Patience)
	defer cancel()
	key := p.cfg.Name + "/" + p.run + "/" + strconv.FormatInt(p.posted, 10)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		after, err := p.post(ctx, key, b)
		if err == nil {
			p.posted += int64(len(b))
			return len(b), nil
		}
		var final *refusal
		if errors.As(err, &final) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			if p.ctx.Err() != nil {
				return 0, fmt.Errorf("post to %s: %w", p.shown, p.ctx.Err())
			}
			return 0, fmt.Errorf("post to %s for %v: %w", p.shown, p.cfg.Patience, err)
		case <-time.After(max(pause, after)):
		}
	}
}

// refusal is an answer that trying again would not change.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// post tries once. after is how long the answer asks to wait.
func (p *Poster) post(ctx context.Context, key string, b []byte) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", key)
	resp, err := p.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which Write tells
		}
		return 0, err
	}
	defer resp.Body.Close()
	reason, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason)) // what comes before it breaks is enough
	answer := strings.TrimSpace(resp.Status + " " + string(reason))
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, readAhead)) // so that the connection is used again
		return 0, nil
	case s == http.StatusTooManyRequests || s >= 500:
		seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16) // a date counts as none
		return time.Duration(seconds) * time.Second, fmt.Errorf("the answer is %q", answer)
	case s >= 300 && s < 400:
		return 0, &refusal{fmt.Sprintf("post to %s: the answer is %q, to %s: redirects are not followed", p.shown, resp.Status, resp.Header.Get("Location"))}
	default:
		return 0, &refusal{fmt.Sprintf("post to %s: the answer is %q", p.shown, answer)}
	}
}
