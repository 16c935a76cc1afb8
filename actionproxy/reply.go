package actionproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
)

// Failure is a reply of the form {"error":…}. With status 200 the platform keeps the container.
func Failure(status int, format string, args ...any) Reply {
	body, _ := json.Marshal(map[string]string{"error": fmt.Sprintf(format, args...)}) // strings always encode
	return Reply{Status: status, Body: body}
}

// send writes a reply. The platform takes an answer of unknown length for none.
func (r Reply) send(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(r.Body)+1))
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body) // a platform that has gone has no use for it
	_, _ = io.WriteString(w, "\n")
}

// endLog ends an activation's log: the platform's collector waits for a line on each stream.
func (p *Proxy) endLog() {
	_, _ = io.WriteString(p.cfg.Stdout, process.Sentinel+"\n") // without a log the answer is still right
	_, _ = io.WriteString(p.cfg.Stderr, process.Sentinel+"\n")
}

// readBody reads a request's body in bounded time and size.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	defer boundBody(w)()
	if r.ContentLength < 0 || r.ContentLength > limit {
		b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
		if int64(len(b)) > limit {
			discard(r.Body)
			return nil, fmt.Errorf("more than %d bytes", limit)
		}
		return b, err
	}
	b := make([]byte, r.ContentLength, r.ContentLength+1) // a newline goes behind it
	if _, err := io.ReadFull(r.Body, b); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// skipBody reads a body that nobody wants: a platform that is still sending would find its connection
// reset, and no answer.
func skipBody(w http.ResponseWriter, r *http.Request) {
	defer boundBody(w)()
	discard(r.Body)
}

func discard(body io.Reader) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxInit)) // who breaks off wants no answer
}

// boundBody bounds the time that a body may take, until what it returns is called.
func boundBody(w http.ResponseWriter) func() {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyWait)) // where it can't be set, the peer is a test
	return func() { _ = control.SetReadDeadline(time.Time{}) }
}
