package conductor_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

var update = flag.Bool("update", false, "rewrite what the brain does in testdata")

// TestStories plays each file of testdata: a line is an event, the indented lines under it are what
// the brain does then. Run with -update to rewrite those. See teller.tell for the events.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := retell(t, string(text))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			was, is := strings.Split(string(text), "\n"), strings.Split(got, "\n")
			for i := range is {
				if i >= len(was) || was[i] != is[i] {
					t.Fatalf("%s:%d: the brain does\n%s\nwhere the story says\n%s", f, i+1,
						strings.Join(is[i:min(i+8, len(is))], "\n"), strings.Join(was[min(i, len(was)):min(i+8, len(was))], "\n"))
				}
			}
			if len(was) != len(is) {
				t.Fatalf("%s: the story goes on where the brain does nothing", f)
			}
		})
	}
}

func retell(t *testing.T, text string) string {
	var out strings.Builder
	tl := &teller{t: t}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		tl.said = nil
		tl.tell(strings.Fields(line))
		for _, s := range tl.said {
			fmt.Fprintln(&out, "    "+s)
		}
	}
	return out.String()
}

// teller has the brain of the story being told.
type teller struct {
	t      *testing.T
	brain  *conductor.Brain
	now    time.Time
	names  map[string]string // lease id → L1, L2, …, in the order they were fired
	ids    map[string]string
	fired  []string // all of them, by name
	used   map[string]bool
	stage  map[string]string
	said   []string
	quiet  bool
	down   string // why the platform doesn't answer when it is asked; "" when it does
	action string
}

// tell takes one line of a story. Slots with their incarnations are written count[1]/2.
func (tl *teller) tell(w []string) {
	rest := func(n int) string { return strings.Join(w[min(n, len(w)):], " ") }
	switch w[0] {
	case "pipeline": // pipeline in -> count*2+1! -> out: *2 replicas, +1 standing by, ! keeps state
		tl.pipeline(w[1:])
	case "begin":
		tl.step(conductor.Begin{})
	case "start": // all slots are taken and ready; their workers are called in0, count0, count1, …
		tl.start()
	case "take": // take STAGE WORKER: the stage's newest lease arrives at a new container
		l := tl.newest(w[1])
		tl.arrive(w[1], l, "a"+l, w[2], nil)
	case "renew": // renew WORKER SLOT: the same at the slot's holder
		h := tl.holder(w[2])
		l := tl.newest(h.Slot.Stage)
		tl.arrive(h.Slot.Stage, l, "a"+l, w[1], tl.inventory(h, nil))
	case "arrive": // arrive STAGE LEASE ACTIVATION WORKER [SLOT]
		var inv *control.Inventory
		if len(w) > 5 {
			inv = tl.inventory(tl.holder(w[5]), nil)
		}
		tl.arrive(w[1], w[2], w[3], w[4], inv)
	case "fired": // fired LEASE ACTIVATION
		tl.step(conductor.LeaseFired{LeaseID: tl.id(w[1]), ActivationID: w[2]})
	case "refused": // refused LEASE retry|final|full REASON
		tl.step(conductor.LeaseRefused{LeaseID: tl.id(w[1]), Retry: w[2] != "final", Full: w[2] == "full", Reason: rest(3)})
	case "completed": // completed ACTIVATION [failed REASON]
		tl.step(conductor.LeaseCompleted{ActivationID: w[1], Failed: len(w) > 2, Reason: rest(3)})
	case "platform": // platform answers|silent|REASON: when it is asked, from now on
		if tl.down = rest(1); tl.down == "answers" {
			tl.down = ""
		}
	case "ready":
		tl.step(conductor.Ready{Slot: tl.holder(w[1])})
	case "failed":
		tl.step(conductor.Failed{Slot: tl.holder(w[1]), Reason: rest(2)})
	case "restarted":
		tl.step(conductor.Restarted{Slot: tl.holder(w[1]), Reason: rest(2)})
	case "ended": // ended SLOT [ATTEMPT]
		a := tl.brain.Status().Attempt
		if len(w) > 2 {
			a = tl.attempt(w[2])
		}
		tl.step(conductor.Ended{Slot: tl.holder(w[1]), Attempt: a})
	case "stranded": // stranded ACTIVATION,ACTIVATION REASON
		tl.step(conductor.Stranded{Activations: strings.Split(w[1], ","), Reason: rest(2)})
	case "frozen":
		tl.step(conductor.Frozen{Worker: w[1], Reason: rest(2)})
	case "gone":
		tl.step(conductor.Gone{Worker: w[1], Reason: rest(2)})
	case "cut": // cut SLOT BARRIER POSITION
		tl.step(conductor.BarrierAt{Slot: tl.holder(w[1]), Attempt: tl.brain.Status().Attempt, Barrier: uint64(tl.number(w[2])), Position: int64(tl.number(w[3]))})
	case "passed": // passed SLOT BARRIER
		tl.step(conductor.BarrierPassed{Slot: tl.holder(w[1]), Attempt: tl.brain.Status().Attempt, Barrier: uint64(tl.number(w[2]))})
	case "returns": // returns WORKER SLOT [lease=L1] [attempt=1.1] [ready] [ended]
		tl.step(conductor.Returned{Worker: w[1], Inventory: *tl.inventory(tl.holder(w[2]), w[3:])})
	case "scale": // scale count=3 …
		asked := map[string]int{}
		for _, a := range w[1:] {
			stage, n, _ := strings.Cut(a, "=")
			asked[stage] = tl.number(n)
		}
		if _, err := tl.brain.CheckScale(asked); err != nil {
			tl.said = append(tl.said, err.Error())
		}
		tl.step(conductor.Scale{Replicas: asked})
	case "restart": // restart [STAGE]
		if err := tl.brain.CheckRestart(rest(1)); err != nil {
			tl.said = append(tl.said, err.Error())
		}
		tl.step(conductor.Restart{Stage: rest(1)})
	case "deployed": // deployed EDGE=TRANSPORT… [lease]: a spec with these transports, and with another lease
		p := tl.brain.Pipeline()
		p.Edges = slices.Clone(p.Edges)
		for _, a := range w[1:] {
			if n, transport, ok := strings.Cut(a, "="); ok {
				p.Edges[tl.number(n)].Transport = pipeline.Transport(transport)
			} else {
				p.LeaseMS++
			}
		}
		tl.step(conductor.Update{Pipeline: p})
	case "prepared": // prepared VERSION SLOT…
		for _, s := range w[2:] {
			tl.step(conductor.Prepared{Slot: tl.holder(s), Version: uint64(tl.number(w[1]))})
		}
	case "action": // from now on containers run this version of their action
		tl.action = w[1]
	case "stop":
		tl.step(conductor.Stop{Reason: rest(1)})
	case "wait": // in steps of 100 ms
		tl.wait(w[1])
	case "sleep": // in one step: nobody gave ticks
		tl.now = tl.now.Add(tl.duration(w[1]))
	case "takeover": // another hook has the snapshot, with the given term
		b, err := conductor.Restore(tl.brain.Snapshot(), uint32(tl.number(w[1])))
		if err != nil {
			tl.said = append(tl.said, err.Error())
			return
		}
		tl.brain = b
		tl.step(conductor.Tick{})
	case "status":
		tl.status()
	case "stage": // stage NAME: is it ready?
		ready, err := tl.brain.StageReady(w[1])
		tl.said = append(tl.said, fmt.Sprintf("ready %v %s", ready, err))
	default:
		tl.t.Fatalf("the story has an unknown event %q", w[0])
	}
}

func (tl *teller) pipeline(words []string) {
	p := pipeline.Pipeline{Name: "p", LeaseMS: 60_000}
	tl.down = ""
	tl.names, tl.ids, tl.stage, tl.used, tl.fired = map[string]string{}, map[string]string{}, map[string]string{}, map[string]bool{}, nil
	for _, w := range words {
		if w == "->" {
			continue
		}
		name, stateful := strings.CutSuffix(w, "!")
		name, standby, _ := strings.Cut(name, "+")
		name, n, _ := strings.Cut(name, "*")
		st := pipeline.Stage{Name: name, Stateful: stateful, Replicas: pipeline.Replicas{Min: 1, Max: 1}}
		if standby != "" {
			st.Standby = tl.number(standby)
		}
		if n != "" {
			st.Replicas.Min = tl.number(n)
			st.Replicas.Max = 2 * st.Replicas.Min
		}
		if len(p.Stages) > 0 {
			p.Edges = append(p.Edges, pipeline.Edge{From: p.Stages[len(p.Stages)-1].Name, To: name, Routing: pipeline.Balance})
		}
		p.Stages = append(p.Stages, st)
	}
	p.Stages[0].Source = &pipeline.Source{File: "in.txt", Format: pipeline.Lines}
	p.Stages[len(p.Stages)-1].Sink = &pipeline.Sink{Stdout: true}
	tl.now = time.UnixMilli(1_000_000)
	tl.brain = conductor.New(conductor.Config{Namespace: "guest", Pipeline: p, Term: 1, KeySeed: 7})
}

func (tl *teller) start() {
	tl.quiet = true
	tl.step(conductor.Begin{})
	p := tl.brain.Pipeline()
	slots := p.Slots()
	slices.Reverse(slots)
	for _, l := range slices.Clone(tl.fired) {
		stage := tl.stage[l]
		n := 0
		for _, s := range tl.brain.Status().Slots {
			if s.Slot.Stage == stage && s.Incarnation > 0 {
				n++
			}
		}
		tl.arrive(stage, l, "a"+l, fmt.Sprintf("%s%d", stage, n), nil)
	}
	for _, s := range slots {
		tl.step(conductor.Ready{Slot: conductor.Holder{Slot: s, Incarnation: 1}})
	}
	tl.quiet = false
	tl.said = append(tl.said, string(tl.brain.Phase()))
}

func (tl *teller) arrive(stage, l, activation, worker string, inv *control.Inventory) {
	tl.step(conductor.Arrived{
		LeaseID: tl.id(l), Stage: stage, ActivationID: activation, Worker: worker, Addr: worker + ":1",
		DeadlineMS: tl.now.Add(time.Minute).UnixMilli(), Holding: inv, Version: tl.action,
	})
}

func (tl *teller) wait(d string) {
	begin := tl.now
	for end := tl.now.Add(tl.duration(d)); tl.now.Before(end); {
		tl.now = tl.now.Add(100 * time.Millisecond)
		before := len(tl.said)
		tl.step(conductor.Tick{})
		if len(tl.said) > before {
			tl.said[before] = fmt.Sprintf("+%v %s", tl.now.Sub(begin), tl.said[before])
		}
	}
}

func (tl *teller) status() {
	st := tl.brain.Status()
	if st.Phase == control.Suspended {
		tl.said = append(tl.said, st.Error)
	}
	words := []string{string(st.Phase), "attempt", st.Attempt.String(), "barrier", fmt.Sprint(st.Barrier)}
	for _, s := range st.Slots {
		words = append(words, fmt.Sprintf("%s/%d:%s", s.Slot, s.Incarnation, s.State))
	}
	for _, s := range st.StandBys {
		words = append(words, strings.TrimSuffix(fmt.Sprintf("%s+:%s, %s", s.Stage, s.State, s.Reason), ", "))
	}
	words = append(words, fmt.Sprintf("renewals %d moves %d restarts %d", st.Renewals, st.Moves, st.Restarts))
	tl.said = append(tl.said, strings.Join(words, " "))
}

func (tl *teller) step(e conductor.Event) {
	var told []string // workers that were told what
	what, asked := "", false
	flush := func() {
		if told != nil {
			tl.say("%s <- %s", strings.Join(told, " "), what)
		}
		told = nil
	}
	for _, c := range tl.brain.Step(tl.now, e) {
		if tw, ok := c.(conductor.ToWorker); ok {
			if s := body(tw.Body, tl.names); s != what {
				flush()
				what = s
			}
			told = append(told, tw.Worker)
			continue
		}
		flush()
		if _, ok := c.(conductor.Ask); ok {
			asked = true
			continue
		}
		tl.command(c)
	}
	flush()
	if asked && tl.down != "silent" {
		tl.step(conductor.Platform{Reason: tl.down})
	}
}

func (tl *teller) command(c conductor.Command) {
	switch c := c.(type) {
	case conductor.FireLease:
		if tl.names[c.LeaseID] == "" {
			name := "L" + strconv.Itoa(len(tl.fired)+1)
			tl.names[c.LeaseID], tl.ids[name], tl.stage[name] = name, c.LeaseID, c.Stage
			tl.fired = append(tl.fired, name)
		}
		tl.say("fire %s for %s", tl.names[c.LeaseID], c.Stage)
	case conductor.Decide:
		tl.used[tl.names[c.LeaseID]] = true
		s := fmt.Sprintf("%s at %s: %s", tl.names[c.LeaseID], c.Worker, c.Verdict)
		if c.Reason != "" {
			s += ", " + c.Reason
		}
		if c.Incarnation != 0 {
			s += fmt.Sprintf(" %s/%d, attempt %s, position %d", c.Slot, c.Incarnation, c.Attempt, c.Position)
			if c.Joins {
				s += ", joins"
			}
		}
		tl.say("%s", s)
	case conductor.DecideReturn:
		if c.Keep {
			tl.say("%s: keep", c.Worker)
		} else {
			tl.say("%s: leave, %s", c.Worker, c.Reason)
		}
	case conductor.Trim:
		tl.say("trim %s to %d", c.Stage, c.Position)
	case conductor.Note:
		tl.say("why: %s", strings.Join(strings.Fields(c.Entry.What+" "+c.Entry.Slot), " ")+": "+c.Entry.Reason)
	case conductor.Finished:
		tl.say("%s", strings.TrimSuffix("finished: "+c.Error, ": "))
	}
}

func (tl *teller) say(format string, args ...any) {
	if !tl.quiet {
		tl.said = append(tl.said, fmt.Sprintf(format, args...))
	}
}

// body is a message to a worker in words.
func body(b any, leases map[string]string) string {
	switch b := b.(type) {
	case *control.Peers:
		words := []string{"peers"}
		for _, p := range b.Peers {
			words = append(words, fmt.Sprintf("%s/%d@%s", p.Slot, p.Incarnation, p.Addr))
		}
		if b.Next != nil {
			words = append(words, fmt.Sprintf("then in version %d:", b.Next.Version))
			for _, p := range b.Next.Peers {
				words = append(words, fmt.Sprintf("%s/%d@%s", p.Slot, p.Incarnation, p.Addr))
			}
		}
		if slices.ContainsFunc(b.Transports, func(t pipeline.Transport) bool { return t != pipeline.Auto }) {
			words = append(words, fmt.Sprint("over ", b.Transports))
		}
		return strings.Join(words, " ")
	case control.Rollback:
		return fmt.Sprintf("term %d: rollback to attempt %s, position %d", b.Term, b.Attempt, b.Position)
	case control.Barrier:
		if b.Position != 0 && b.Version == 0 {
			return fmt.Sprintf("term %d: barrier %d is complete at %d", b.Term, b.Barrier, b.Position)
		}
		if b.Version != 0 {
			return fmt.Sprintf("term %d: barrier %d makes version %d valid, from %d", b.Term, b.Barrier, b.Version, b.Position)
		}
		if b.Pause {
			return fmt.Sprintf("term %d: barrier %d, and nothing behind it", b.Term, b.Barrier)
		}
		return fmt.Sprintf("term %d: barrier %d", b.Term, b.Barrier)
	case control.Release:
		return fmt.Sprintf("term %d: release %s", b.Term, leases[b.LeaseID])
	case control.Terminate:
		if b.Dismiss {
			b.Reason = "dismissed, " + b.Reason
		}
		return strings.TrimSuffix(fmt.Sprintf("term %d: terminate, %s: %s", b.Term, b.Reason, b.Error), ": ")
	}
	return fmt.Sprintf("%T", b)
}

func (tl *teller) inventory(h conductor.Holder, words []string) *control.Inventory {
	inv := &control.Inventory{Namespace: "guest", Pipeline: "p", Slot: h.Slot, Incarnation: h.Incarnation,
		Term: tl.brain.Term(), Attempt: tl.brain.Status().Attempt}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "lease":
			inv.LeaseID = tl.id(value)
		case "attempt":
			inv.Attempt = tl.attempt(value)
		case "ready":
			inv.Ready = true
		case "ended":
			inv.Ended = true
		default:
			tl.t.Fatalf("unknown word %q of an inventory", w)
		}
	}
	return inv
}

func (tl *teller) newest(stage string) string {
	for _, l := range slices.Backward(tl.fired) {
		if tl.stage[l] == stage && !tl.used[l] {
			return l
		}
	}
	tl.t.Fatalf("no lease was fired for %s", stage)
	return ""
}

// id is a lease's by its name in the story; a name that was never given stands for itself.
func (tl *teller) id(name string) string {
	if id := tl.ids[name]; id != "" {
		return id
	}
	return name
}

func (tl *teller) holder(s string) conductor.Holder {
	name, inc, ok := strings.Cut(s, "/")
	stage, index, ok2 := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	if !ok || !ok2 {
		tl.t.Fatalf("%q is no slot: want count[1]/2", s)
	}
	return conductor.Holder{Slot: pipeline.Slot{Stage: stage, Index: tl.number(index)}, Incarnation: uint64(tl.number(inc))}
}

func (tl *teller) attempt(s string) frame.Attempt {
	term, n, _ := strings.Cut(s, ".")
	return frame.MakeAttempt(uint32(tl.number(term)), uint32(tl.number(n)))
}

func (tl *teller) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		tl.t.Fatal(err)
	}
	return n
}

func (tl *teller) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		tl.t.Fatal(err)
	}
	return d
}
