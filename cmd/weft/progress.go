package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// progress tells on stderr what happens: stages as they turn ready, sinks first; then events a
// second; on a terminal in one line that is written over.
type progress struct {
	w        io.Writer
	p        *pipeline.Pipeline
	files    *files
	quiet    bool
	terminal bool
	began    time.Time
	running  time.Time
	ready    map[string]bool
	shown    time.Time
	last     uint64 // events that left the sources, when last shown
	waits    bool   // the pipeline is suspended
	line     bool   // a line without its end is on the terminal
}

func newProgress(w io.Writer, p *pipeline.Pipeline, f *files, quiet bool) *progress {
	tty, ok := w.(*os.File)
	return &progress{w: w, p: p, files: f, quiet: quiet, terminal: ok && isTerminal(tty),
		began: time.Now(), ready: map[string]bool{}}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (g *progress) say(format string, a ...any) {
	if g.quiet {
		return
	}
	if g.line {
		fmt.Fprint(g.w, "\r\x1b[K")
		g.line = false
	}
	fmt.Fprintf(g.w, "weft: "+format+"\n", a...)
}

func (g *progress) show(st control.PipelineStatus) {
	g.stages(st)
	if waits := st.Phase == control.Suspended; waits != g.waits {
		if g.waits = waits; waits {
			g.say("suspended, and goes on by itself: %s", st.Error)
		} else {
			g.say("%s again", st.Phase)
		}
	}
	if st.Phase != control.Running {
		return
	}
	if g.running.IsZero() {
		g.running, g.shown = time.Now(), time.Now()
		g.say("running after %s", time.Since(g.began).Round(time.Millisecond))
		if g.p.Ingress() != nil {
			g.say("serves until it is stopped: wsk action invoke %s -r -p KEY VALUE", g.p.Name)
		}
	}
	every := 10 * time.Second
	if g.terminal {
		every = 500 * time.Millisecond
	}
	if since := time.Since(g.shown); since >= every {
		events := g.events(st)
		g.rate(events, float64(events-min(g.last, events))/since.Seconds())
		g.last, g.shown = events, time.Now()
	}
}

// stages names each stage once all of its slots are ready.
func (g *progress) stages(st control.PipelineStatus) {
	for _, name := range g.p.SinksFirst() {
		slots, ready := 0, 0
		for _, s := range st.Slots {
			if s.Slot.Stage == name {
				slots++
				if s.State == "ready" || s.State == "ended" {
					ready++
				}
			}
		}
		if slots > 0 && slots == ready && !g.ready[name] {
			g.ready[name] = true
			g.say("%-12s ready (%d worker%s)", name, slots, plural(slots))
		}
	}
}

// events counts what has left the sources.
func (g *progress) events(st control.PipelineStatus) uint64 {
	var n uint64
	for _, s := range st.Slots {
		if stage := g.p.Stage(s.Slot.Stage); stage != nil && stage.Source != nil {
			n += s.Out
		}
	}
	return n
}

// total counts the events that a source has made or another worker has taken in.
func (g *progress) total(st control.PipelineStatus) uint64 {
	n := g.events(st)
	for _, s := range st.Slots {
		if stage := g.p.Stage(s.Slot.Stage); stage != nil && stage.Source == nil {
			n += s.In
			for _, f := range s.Fused {
				n += f.In
			}
		}
	}
	return n
}

func (g *progress) rate(events uint64, perSecond float64) {
	text := fmt.Sprintf("%s%d events from the sources, %.0f a second", bar(g.files.readShare()), events, perSecond)
	if !g.terminal || g.quiet {
		g.say("%s", text)
		return
	}
	fmt.Fprintf(g.w, "\r\x1b[Kweft: %s", text)
	g.line = true
}

// bar draws how much of the input has been read; "" when that can't be told.
func bar(share float64) string {
	const width = 20
	if share < 0 {
		return ""
	}
	share = min(share, 1) // a file that grows is read beyond the size it had
	n := int(share*width + 0.5)
	return fmt.Sprintf("[%s%s] %3.0f %%  ", strings.Repeat("#", n), strings.Repeat(".", width-n), share*100)
}

// summary ends the run's report.
func (g *progress) summary(st control.PipelineStatus) {
	if g.quiet {
		return
	}
	if g.running.IsZero() {
		g.running = g.began
	}
	took := time.Since(g.running)
	total := g.total(st)
	g.say("done in %s: %d events from the sources, %d in all stages (%.0f a second)",
		took.Round(time.Millisecond), g.events(st), total, float64(total)/took.Seconds())
	g.say("a hop took %s p50, %s p99; restarts: %d", micros(st.HopP50US), micros(st.HopP99US), st.Restarts)
	if l := g.files.letters; l != nil && l.n.Load() > 0 {
		g.say("%d event(s) failed: see %s", l.n.Load(), l.name)
	}
}

func (g *progress) done() {
	if g.line {
		fmt.Fprintln(g.w)
	}
}

func micros(us int64) string { return (time.Duration(us) * time.Microsecond).String() }

func plural(n int) string { return strings.Repeat("s", min(max(n-1, 0), 1)) }
