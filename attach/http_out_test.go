package attach_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/attach"
)

// receiver keeps what is posted to it, and answers each post with the next of its answers, then 200.
type receiver struct {
	*httptest.Server
	mu                  sync.Mutex
	bodies, keys, kinds []string // one each a post
	answers             []http.HandlerFunc
}

// keep notes a post and says how to answer it. The handler of a connection that broke may still run
// when the next post comes.
func (r *receiver) keep(req *http.Request, body []byte) http.HandlerFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, string(body))
	r.keys = append(r.keys, req.Header.Get("Idempotency-Key"))
	r.kinds = append(r.kinds, req.Method+" "+req.Header.Get("Content-Type"))
	if len(r.answers) == 0 {
		return status(200, "")
	}
	answer := r.answers[0]
	r.answers = r.answers[1:]
	return answer
}

// posts are the bodies, keys and kinds so far.
func (r *receiver) posts() (bodies, keys, kinds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies), slices.Clone(r.keys), slices.Clone(r.kinds)
}

func newReceiver(t *testing.T, answers ...http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		r.keep(req, b)(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, code) }
}

func poster(t *testing.T, cfg attach.HTTPOutput) io.WriteCloser {
	t.Helper()
	cfg.Name = "p/out"
	p, err := cfg.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestPosterTriesAgainUnderTheSameKey(t *testing.T) {
	r := newReceiver(t, status(503, "busy"), status(429, "slow down"),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) // the connection breaks
	p := poster(t, attach.HTTPOutput{URL: r.URL})
	for _, b := range []string{"{\"n\":1}\n", "{\"n\":2}\n"} {
		if n, err := io.WriteString(p, b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	bodies, keys, kinds := r.posts()
	if want := []string{"{\"n\":1}\n", "{\"n\":1}\n", "{\"n\":1}\n", "{\"n\":1}\n", "{\"n\":2}\n"}; !slices.Equal(bodies, want) {
		t.Errorf("bodies %q", bodies)
	}
	if k := slices.Compact(keys); len(k) != 2 || !strings.HasPrefix(k[0], "p/out/") {
		t.Errorf("keys %q", k)
	}
	if k := slices.Compact(kinds); len(k) != 1 || k[0] != "POST application/x-ndjson" {
		t.Errorf("posted as %q", k)
	}
}

func TestPosterKeysOfTwoRunsDiffer(t *testing.T) {
	r := newReceiver(t)
	for range 2 {
		if _, err := io.WriteString(poster(t, attach.HTTPOutput{URL: r.URL}), "x\n"); err != nil {
			t.Fatal(err)
		}
	}
	if _, keys, _ := r.posts(); keys[0] == keys[1] {
		t.Errorf("both %q: the receiver would take the second run for the first", keys[0])
	}
}

func TestPosterGivesUp(t *testing.T) {
	other := newReceiver(t)
	for _, c := range []struct {
		answer http.HandlerFunc
		want   string
	}{
		{status(400, "no such table"), `"400 Bad Request no such table"`},
		{func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL, http.StatusTemporaryRedirect)
		}, "redirects are not followed"},
		{func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/in", http.StatusFound) }, "redirects are not followed"},
	} {
		r := newReceiver(t, c.answer)
		if _, err := io.WriteString(poster(t, attach.HTTPOutput{URL: r.URL}), "x\n"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
		if bodies, _, _ := r.posts(); len(bodies) != 1 {
			t.Errorf("%s: posted %d times", c.want, len(bodies))
		}
	}
	if bodies, _, _ := other.posts(); len(bodies) != 0 {
		t.Errorf("the other host got %q", bodies)
	}
	r := newReceiver(t)
	r.Close() // nobody listens
	if _, err := io.WriteString(poster(t, attach.HTTPOutput{URL: r.URL, Patience: time.Millisecond}), "x\n"); err == nil || !strings.Contains(err.Error(), "for 1ms: ") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestPosterCloseEndsAWrite(t *testing.T) {
	reached := make(chan struct{}, 100)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
		reached <- struct{}{}
	})
	p := poster(t, attach.HTTPOutput{URL: r.URL, Patience: time.Hour})
	written := make(chan error, 1)
	go func() { _, err := io.WriteString(p, "x\n"); written <- err }()
	<-reached
	_ = p.Close()
	if err := <-written; err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
}
