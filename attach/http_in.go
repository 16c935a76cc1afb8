package attach

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// maxPosted bounds a posted line or event, in bytes: the longest line that a source takes.
const maxPosted = 1 << 20

// Bounds of the server. A body may take as long as its sender likes while something comes.
const (
	maxSenders  = 64 // connections; others wait for a place
	headTime    = 10 * time.Second
	silentTime  = time.Minute // of a body, or of a connection between two requests
	answerTime  = 10 * time.Second
	lastAnswers = time.Second // for the answers under way when the server closes
)

// HTTPInput is an Input that takes lines by POST. Whole lines alone are taken, and a spool that is full
// stalls the body that brings more. DELETE is the end of the input.
type HTTPInput struct {
	Listen   string        // HOST:PORT; port 0 is any free one
	Path     string        // others are not found
	Spool    int           // bytes kept after the last complete barrier; 0: 64 MiB
	Patience time.Duration // how long a body waits for room in the spool; 0: 10 s
}

// Posts is an HTTPInput that listens.
type Posts struct {
	spool
	cfg     HTTPInput
	url     string
	server  *http.Server
	serving sync.WaitGroup
}

// Open begins to listen. What comes before the first read waits in the spool.
func (c HTTPInput) Open() (*Posts, error) {
	c.Spool, c.Patience = cmp.Or(c.Spool, maxSpool), cmp.Or(c.Patience, 10*time.Second)
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for events: %w", err)
	}
	p := &Posts{spool: newSpool(c.Spool), cfg: c, url: "http://" + ln.Addr().String() + c.Path}
	// Pages of other sites, open in a browser here, may not post.
	p.server = &http.Server{Handler: http.NewCrossOriginProtection().Handler(p), ReadHeaderTimeout: headTime, IdleTimeout: silentTime}
	p.serving.Go(func() { _ = p.server.Serve(newCrowd(ln, maxSenders)) }) // until Close
	return p, nil
}

// URL is where events are posted to.
func (p *Posts) URL() string { return p.url }

// Close ends the server. What was accepted and not read is gone.
func (p *Posts) Close() error {
	p.end(os.ErrClosed)
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = p.server.Close()
	}
	p.serving.Wait()
	return err
}

// ServeHTTP takes the lines of a POST, or the end by DELETE.
func (p *Posts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != p.cfg.Path:
		p.answer(w, http.StatusNotFound, 0, fmt.Errorf("events are posted to %s", p.cfg.Path))
	case r.Method == http.MethodDelete:
		p.end(io.EOF)
		p.answer(w, http.StatusAccepted, 0, nil)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, DELETE")
		p.answer(w, http.StatusMethodNotAllowed, 0, errors.New("POST events; DELETE ends the input"))
	default:
		n, err := p.post(w, r)
		p.answer(w, statusOf(err), n, err)
	}
}

// Reasons to take no more of a body.
var (
	errKind   = errors.New("want Content-Type application/x-ndjson or text/plain for lines, application/json for one event")
	errLong   = fmt.Errorf("a line or event is over %d bytes", maxPosted)
	errObject = errors.New("the body is not one JSON object")
	errEnded  = errors.New("the input has ended")
	errFull   = errors.New("no room: what was accepted is still being worked on; send the rest later")
)

func statusOf(err error) int {
	for status, is := range map[int]error{http.StatusUnsupportedMediaType: errKind, http.StatusRequestEntityTooLarge: errLong,
		http.StatusGone: errEnded, http.StatusTooManyRequests: errFull, http.StatusRequestTimeout: os.ErrDeadlineExceeded} {
		if errors.Is(err, is) {
			return status
		}
	}
	if err != nil {
		return http.StatusBadRequest
	}
	return http.StatusAccepted
}

// answer tells how many lines were accepted, and why not the others.
func (p *Posts) answer(w http.ResponseWriter, status, accepted int, why error) {
	body := struct {
		Accepted int    `json:"accepted"`
		Error    string `json:"error,omitempty"`
	}{Accepted: accepted}
	if why != nil {
		body.Error = why.Error()
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1") // a barrier, which makes room, is made every second
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a sender that has gone hears nothing
}

// post gives the number of lines that were accepted.
func (p *Posts) post(w http.ResponseWriter, r *http.Request) (int, error) {
	body := &patientBody{r.Body, http.NewResponseController(w)}
	_ = body.control.SetWriteDeadline(time.Time{}) // that of the connection's last answer is over
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		return p.single(r.Context(), body)
	case "application/x-ndjson", "text/plain":
		return p.lines(r.Context(), body)
	}
	return 0, errKind
}

// single takes a body that is one event. It waits for no room: its sender has nothing to stall.
func (p *Posts) single(ctx context.Context, body io.Reader) (int, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxPosted+1))
	if err != nil {
		return 0, fmt.Errorf("read the event: %w", err)
	}
	if len(b) > maxPosted {
		return 0, errLong
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil || line.Len() == 0 || line.Bytes()[0] != '{' || !utf8.Valid(b) {
		return 0, errObject
	}
	line.WriteByte('\n')
	return p.take(ctx, line.Bytes(), 0)
}

// lines takes whole lines as they come. The last one needs no newline when the body is complete; of a
// body that breaks off, what follows the last newline is left out.
func (p *Posts) lines(ctx context.Context, body io.Reader) (int, error) {
	var rest []byte // no newline in it
	accepted, chunk := 0, make([]byte, 64<<10)
	for {
		n, err := body.Read(chunk)
		if whole := bytes.LastIndexByte(chunk[:n], '\n') + 1; whole > 0 {
			took, err := p.whole(ctx, append(rest, chunk[:whole]...))
			accepted += took
			if err != nil {
				return accepted, err
			}
			rest = append(rest[:0], chunk[whole:n]...)
		} else {
			rest = append(rest, chunk[:n]...)
		}
		switch {
		case len(rest) > maxPosted:
			return accepted, errLong
		case err == io.EOF && len(rest) > 0:
			took, err := p.whole(ctx, append(rest, '\n'))
			return accepted + took, err
		case err == io.EOF:
			return accepted, nil
		case err != nil:
			return accepted, fmt.Errorf("read the lines: %w", err)
		}
	}
}

// whole takes lines that end in newlines. Only the first can be too long: the others are of one chunk.
func (p *Posts) whole(ctx context.Context, b []byte) (int, error) {
	if bytes.IndexByte(b, '\n') > maxPosted {
		return 0, errLong
	}
	return p.take(ctx, b, p.cfg.Patience)
}

// take gives lines to the spool, all or none, within patience.
func (p *Posts) take(ctx context.Context, b []byte, patience time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch err := p.add(ctx, b); {
	case err == nil:
		return bytes.Count(b, []byte("\n")), nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return 0, errFull
	default:
		return 0, errEnded
	}
}

// patientBody is a body whose every read has a time of its own.
type patientBody struct {
	io.Reader
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(silentTime))
	return b.Reader.Read(p)
}
