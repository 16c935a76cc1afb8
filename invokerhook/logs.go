package invokerhook

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// Bounds of what is kept per pipeline.
const (
	maxLogLines = 4000
	maxLogBytes = 1 << 20
	maxLogLine  = 16 << 10 // bytes; the rest of a longer line is cut off
	maxTrace    = 256      // bytes
	logPage     = 1000     // lines in one answer
	logWait     = time.Minute
)

// journal keeps the last lines that a pipeline's functions printed.
type journal struct {
	mu      sync.Mutex
	last    uint64 // number of the newest line
	bytes   int
	lines   []control.LogLine
	changed chan struct{} // closed at the next line; nil when nobody waits
}

func (j *journal) print(l control.Log) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range l.Lines {
		p.Text, p.Trace = cut(p.Text, maxLogLine), cut(p.Trace, maxTrace)
		j.last++
		j.bytes += len(p.Text)
		j.lines = append(j.lines, control.LogLine{Number: j.last, Slot: l.Slot, Printed: p})
	}
	drop := 0
	for len(j.lines)-drop > maxLogLines || j.bytes > maxLogBytes {
		j.bytes -= len(j.lines[drop].Text)
		drop++
	}
	if drop > 0 {
		j.lines = append(j.lines[:0:0], j.lines[drop:]...)
	}
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// cut bounds a text that a worker has sent, between two runes.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "")
}

// page returns lines after the number given, of what is asked for. Last is where to go on.
func (j *journal) page(q control.Query) control.LogsReply {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := control.LogsReply{Last: max(q.After, j.last)}
	if oldest := j.last - uint64(len(j.lines)); q.After > 0 && q.After < oldest {
		out.Lost = oldest - q.After
	}
	for _, l := range j.lines {
		if l.Number <= q.After || q.Stage != "" && l.Slot.Stage != q.Stage || q.Slot != "" && l.Slot.String() != q.Slot {
			continue
		}
		if len(out.Lines) == logPage {
			out.Last = out.Lines[logPage-1].Number
			break
		}
		out.Lines = append(out.Lines, l)
	}
	return out
}

// groupOf is the stage whose workers hold a fused stage, and print for it; of any other, itself.
func (o *owner) groupOf(stage string) string {
	v, _ := o.look()
	for _, s := range v.status.Slots {
		if slices.ContainsFunc(s.Fused, func(f control.StageCounts) bool { return f.Stage == stage }) {
			return s.Slot.Stage
		}
	}
	return stage
}

// next is closed when a line comes.
func (j *journal) next() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}

// logs is a page of a pipeline's lines. An empty one is held back, for as long as was asked, until there
// are some or the pipeline has ended.
func (o *owner) logs(ctx context.Context, q control.Query) control.LogsReply {
	wait := time.NewTimer(min(time.Duration(q.WaitMS)*time.Millisecond, logWait))
	defer wait.Stop()
	q.Stage = o.groupOf(q.Stage) // one process prints for all of its stages
	for {
		came := o.journal.next() // before the look, so that no line falls between
		over := false
		select {
		case <-o.done:
			over = true
		default:
		}
		page := o.journal.page(q)
		page.Over = over && len(page.Lines) < logPage
		if len(page.Lines) > 0 || over {
			return page
		}
		q.After = page.Last // what is of other stages needs no second look
		select {
		case <-came:
		case <-o.done:
		case <-wait.C:
			return page
		case <-ctx.Done():
			return page
		}
	}
}
