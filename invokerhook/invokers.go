package invokerhook

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/openwhisk"
)

const (
	invokerAlive = 10 * time.Second // one that is silent longer is taken for down, as the platform does
	maxInvokers  = 4096             // remembered
	// pingsFresh is how old the last sign of any invoker may be for the silence of one to mean anything.
	pingsFresh = 2 * time.Second
)

// invokers knows which give signs of life, and how much memory each has for containers.
type invokers struct {
	mu      sync.Mutex
	last    map[string]sign // by name
	current bool            // the last sign that was read is the last there is
	heard   time.Time       // when that was
}

type sign struct {
	at       time.Time
	memoryMB int    // 0: not said
	topic    string // of its activations, without prefix
	silent   bool   // that was told
}

func (i *invokers) note(p openwhisk.PingMessage, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !p.IsEnabled {
		delete(i.last, p.Name.UniqueName)
		return
	}
	if _, known := i.last[p.Name.UniqueName]; !known && len(i.last) >= maxInvokers {
		return
	}
	if i.last == nil {
		i.last = map[string]sign{}
	}
	i.last[p.Name.UniqueName] = sign{at: at, memoryMB: megabytes(p.Name.UserMemory), topic: fmt.Sprintf("invoker%d", p.Name.Instance)}
}

// read notes that a message of the topic was read, and whether more are there.
func (i *invokers) read(all bool, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current, i.heard = all, at
}

// quiet is an invoker without signs of life.
type quiet struct {
	topic string // of its activations
	since time.Duration
	first bool // it was not told of before
}

// silent are the invokers of which nothing was heard for so long, while others are heard of. If nobody
// is, it is Kafka or this hook that is silent; if not all is read that came in, the next may be theirs.
func (i *invokers) silent(now time.Time, wait time.Duration) []quiet {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.current || now.Sub(i.heard) > pingsFresh {
		return nil
	}
	var out []quiet
	for name, s := range i.last {
		if since := now.Sub(s.at); since >= wait {
			out = append(out, quiet{s.topic, since, !s.silent})
			s.silent = true
			i.last[name] = s
		}
	}
	return out
}

// strand tells the owners of activations on silent invokers, which are replaced long before the
// platform's time-outs.
func (h *Hook) strand(now time.Time) {
	for _, q := range h.invokers.silent(now, h.cfg.InvokerSilence) {
		since := q.since.Truncate(100 * time.Millisecond)
		if q.first {
			h.log.Warn().Str("invoker", q.topic).Dur("since", since).Msg("invoker gives no sign of life: what runs there is replaced")
		}
		for o, ids := range h.acts.leave(q.topic) {
			o.post(item{event: conductor.Stranded{Activations: ids,
				Reason: fmt.Sprintf("%s, which has its activation, has given no sign of life for %v", q.topic, since)}})
		}
	}
}

// alive counts the invokers that live, and gives the memory of each in MB; none when one hasn't said it.
func (i *invokers) alive(now time.Time) (n int, memoryMB []int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := true
	for _, s := range i.last {
		if now.Sub(s.at) < invokerAlive {
			n++
			memoryMB = append(memoryMB, s.memoryMB)
			known = known && s.memoryMB > 0
		}
	}
	if !known {
		return n, nil
	}
	return n, memoryMB
}

// megabytes reads "8589934592 B" or "8 GB"; 0 when it is neither.
func megabytes(text string) int {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	switch unit {
	case "B":
		return int(n >> 20)
	case "KB":
		return int(n >> 10)
	case "MB":
		return int(n)
	case "GB":
		return int(min(n, 1<<20) << 10)
	}
	return 0
}
