package load

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Taken is what the last stage saw of a run. It is not safe for concurrent use.
type Taken struct {
	plan    Plan
	next    uint64
	first   int64 // when the first counted event came
	last    int64
	fromDue *hdrhistogram.Histogram
	sent    *hdrhistogram.Histogram
}

// Longest is the highest latency that a histogram keeps apart, in nanoseconds.
const Longest = int64(300e9)

// NewHistogram is the form of all histograms here: nanoseconds to 5 minutes, 3 digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, Longest, 3) }

// NewTaken waits for the plan's events.
func NewTaken(p Plan) *Taken {
	return &Taken{plan: p, fromDue: NewHistogram(), sent: NewHistogram()}
}

// Take notes an event that has come; done is true after the last one. Events that are lost, or come
// twice or out of order, end the run: such a figure would be of no use.
func (t *Taken) Take(b []byte) (done bool, err error) {
	now := Now()
	if len(b) < HeaderSize {
		return false, fmt.Errorf("an event of %d bytes came, of at least %d were sent", len(b), HeaderSize)
	}
	due, sent, n := Read(b)
	return t.Note(now, due, sent, n)
}

// Note is Take for an event that was read already.
func (t *Taken) Note(now, due, sent int64, n uint64) (done bool, err error) {
	if n != t.next {
		return false, fmt.Errorf("event %d came, event %d was expected", n, t.next)
	}
	t.next++
	if n < uint64(t.plan.Warmup) {
		return false, nil
	}
	if t.first == 0 {
		t.first = now
	}
	t.last = now
	_ = t.fromDue.RecordValue(min(max(now-due, 1), Longest)) // in range by that
	_ = t.sent.RecordValue(min(max(now-sent, 1), Longest))
	return t.next == uint64(t.plan.Warmup+t.plan.Events), nil
}

// Result is one run's figures, as a stage process prints them.
type Result struct {
	Events  int                    `json:"events"`
	Seconds float64                `json:"seconds"` // from the first counted event's arrival to the last's
	Sent    *hdrhistogram.Snapshot `json:"sent"`    // latency from the send, ns, through the whole chain
	Due     *hdrhistogram.Snapshot `json:"due"`     // the same from when the event was due
	CPU     float64                `json:"cpu"`     // seconds of the stages' processes, from the first send on
	Server  float64                `json:"server"`  // seconds of a broker's process meanwhile
	Note    string                 `json:"note,omitempty"`
}

// Result ends the run.
func (t *Taken) Result() Result {
	return Result{Events: t.plan.Events, Seconds: float64(t.last-t.first) / 1e9, Sent: t.sent.Export(), Due: t.fromDue.Export()}
}

// P gives a quantile of a latency in nanoseconds; q is between 0 and 100.
func P(s *hdrhistogram.Snapshot, q float64) float64 {
	if s == nil {
		return 0
	}
	return float64(hdrhistogram.Import(s).ValueAtQuantile(q))
}

// Snapshot makes a histogram of latencies in nanoseconds.
func Snapshot(values []int64) *hdrhistogram.Snapshot {
	h := NewHistogram()
	for _, v := range values {
		_ = h.RecordValue(min(max(v, 1), Longest)) // in range by that
	}
	return h.Export()
}
