package tests

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// halves has a stage of two slots, so that events have a way around a link that is cut.
const halves = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: halves}
spec:
  transport: quic
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: work, function: {source: work.py}, replicas: {min: 2}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: out}
`

// TestCut takes the packets between two slots away: that link goes down and no other, events go around
// it, and when the packets come again it goes on where it was.
func TestCut(t *testing.T) {
	need(t, "python3", "Python 3")
	needFirewall(t)
	for _, chain := range []string{"INPUT", "OUTPUT"} { // lost on the way; refused to the sender
		t.Run(chain, func(t *testing.T) { cutAndHeal(t, chain) })
	}
}

func cutAndHeal(t *testing.T, chain string) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", halves)
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	in, open := fifo(t, dir)
	w := weftIn(t, dir, "run", "p.yaml", "--in", in)
	f := &feeder{t: t, w: input(t, open, w)}
	defer f.w.Close()
	before := w.running()
	f.write(20)
	w.eventually("first events in the output", func() bool { return lines(w) == 20 })
	w.eventually("links that are all up and have told of their events", func() bool {
		st := w.held(before)
		return len(down(st)) == 0 && link(t, st, "in[0]", "work[0]").Events+link(t, st, "in[0]", "work[1]").Events == 20
	})

	from, to := slotOf(t, before, "in[0]"), slotOf(t, before, "work[0]")
	sent := link(t, w.held(before), "in[0]", "work[0]").Events
	heal := cut(t, chain, from.Addr, to.Addr)
	// Silence is noticed after a while, and the events that take the link until then have to wait. A
	// sender that is refused knows at once.
	onLink := false
	w.eventually("event on the cut link", func() bool {
		l := link(t, w.held(before), "in[0]", "work[0]")
		if onLink = l.Events > sent; onLink || !l.Up {
			return true
		}
		f.write(1)
		return false
	})
	only := []string{"in[0] → work[0]"}
	w.eventually("link that is down", func() bool { return len(down(w.held(before))) > 0 })
	if got := down(w.held(before)); !slices.Equal(got, only) {
		t.Errorf("%v are down, want %v", got, only)
	}

	// All others flow: what comes now finds its way around.
	have := lines(w)
	f.write(100)
	w.eventually("events around the cut link", func() bool { return lines(w) >= have+100 })
	st := w.held(before)
	if got := down(st); !slices.Equal(got, only) {
		t.Errorf("%v are down, want %v", got, only)
	}
	if onLink && lines(w) == f.n {
		t.Error("no event waits for the link, though some were sent on it")
	}

	heal()
	w.eventually("link that is up again", func() bool { return len(down(w.held(before))) == 0 })
	sent = link(t, w.held(before), "in[0]", "work[0]").Events
	w.eventually("events on the healed link", func() bool {
		f.write(10)
		return link(t, w.held(before), "in[0]", "work[0]").Events > sent
	})
	w.eventually("all events in the output", func() bool { return lines(w) >= f.n })
	st = w.held(before)
	if err := f.w.Close(); err != nil {
		t.Fatal(err)
	}
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	seen := make([]int, f.n)
	for _, e := range ndjson[struct{ N int }](t, w.stdout.String()) {
		seen[e.N]++
	}
	for n, times := range seen {
		if times != 1 { // nothing was rolled back, and links drop what they have had
			t.Errorf("event %d came %d times", n, times)
		}
	}
	t.Logf("%d events, %d resent on the cut link", f.n, link(t, st, "in[0]", "work[0]").Resent)
}

// needFirewall skips where packets can't be dropped.
func needFirewall(t *testing.T) {
	t.Helper()
	need(t, "iptables", "iptables")
	if out, err := exec.Command("iptables", "-w", "-L", "-n").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("run this test as root: iptables: %v: %s", err, out)
		}
		t.Skipf("run this test as root: iptables: %v: %s", err, out)
	}
}

// cut drops all packets between two UDP addresses, until heal or the test's end.
func cut(t *testing.T, chain, a, b string) (heal func()) {
	t.Helper()
	device := map[string]string{"INPUT": "-i", "OUTPUT": "-o"}[chain]
	var rules [][]string
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		src, sport, err := net.SplitHostPort(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		dst, dport, err := net.SplitHostPort(pair[1])
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, []string{chain, device, "lo", "-p", "udp", "-s", src, "--sport", sport, "-d", dst, "--dport", dport, "-j", "DROP"})
	}
	healed := false
	heal = func() {
		if healed {
			return
		}
		healed = true
		for _, r := range rules {
			iptables(t, append([]string{"-D"}, r...))
		}
	}
	t.Cleanup(heal)
	for _, r := range rules {
		iptables(t, append([]string{"-I"}, r...))
	}
	return heal
}

func iptables(t *testing.T, args []string) {
	t.Helper()
	if out, err := exec.Command("iptables", append([]string{"-w"}, args...)...).CombinedOutput(); err != nil {
		t.Errorf("iptables %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// feeder writes events with numbers.
type feeder struct {
	t testing.TB
	w io.WriteCloser
	n int
}

func (f *feeder) write(n int) {
	f.t.Helper()
	for range n {
		if _, err := fmt.Fprintf(f.w, "{\"n\":%d}\n", f.n); err != nil {
			f.t.Fatal(err)
		}
		f.n++
	}
}

func lines(w *command) int { return strings.Count(w.stdout.String(), "\n") }

// held is the status, in which every slot must have the holder it had before.
func (c *command) held(before control.PipelineStatus) control.PipelineStatus {
	c.t.Helper()
	st, ok := c.status()
	if !ok {
		c.t.Fatal("no status")
	}
	for i, s := range st.Slots {
		if s.PID != before.Slots[i].PID || s.Incarnation != before.Slots[i].Incarnation {
			c.t.Fatalf("%s has another holder: %+v, before %+v", s.Slot, s, before.Slots[i])
		}
	}
	if st.Restarts != before.Restarts || st.Attempt != before.Attempt {
		c.t.Fatalf("%d restarts, attempt %s", st.Restarts, st.Attempt)
	}
	return st
}

func link(t testing.TB, st control.PipelineStatus, from, to string) control.Link {
	t.Helper()
	for _, l := range slotOf(t, st, from).Links {
		if l.To.String() == to {
			return l
		}
	}
	t.Fatalf("no link from %s to %s", from, to)
	return control.Link{}
}

// down lists the links that are, as their senders see it.
func down(st control.PipelineStatus) (links []string) {
	for _, s := range st.Slots {
		for _, l := range s.Links {
			if !l.Up {
				links = append(links, s.Slot.String()+" → "+l.To.String())
			}
		}
	}
	return links
}
