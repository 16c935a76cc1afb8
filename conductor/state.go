package conductor

import (
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// state is all that a brain knows; its JSON is the snapshot. Times are epoch milliseconds, 0 is never.
type state struct {
	Namespace string            `json:"namespace"`
	Pipeline  pipeline.Pipeline `json:"pipeline"`
	Term      uint32            `json:"term"`
	KeySeed   uint64            `json:"keySeed,string"`
	Timing    timing            `json:"timing"`

	Phase    control.Phase `json:"phase"`
	Error    string        `json:"error,omitempty"` // why it has failed, or is suspended
	Attempt  frame.Attempt `json:"attempt"`
	BeganMS  int64         `json:"beganMs,omitempty"`
	StopMS   int64         `json:"stopMs,omitempty"`   // when phase stopping began
	Suspend  *suspension   `json:"suspend,omitempty"`  // on its way
	Finished bool          `json:"finished,omitempty"` // the command was given
	Flowed   bool          `json:"flowed,omitempty"`   // a source has been ready: events may have gone

	Slots    []*slot           `json:"slots"`
	StandBys []*slot           `json:"standBys,omitempty"` // their places; see standby.go
	Version  uint64            `json:"version,omitempty"`  // of the assignment that is valid
	VersionN uint64            `json:"versionN,omitempty"` // the last one announced
	Replicas map[string]int    `json:"replicas,omitempty"` // of each stage, in that version; none: the spec's least
	Wanted   map[string]int    `json:"wanted,omitempty"`   // of each stage, when other numbers were asked for
	Change   *change           `json:"change,omitempty"`   // the next version, on its way
	GivenUp  string            `json:"givenUp,omitempty"`  // why the last change has not come to be
	Given    map[string]uint64 `json:"given,omitempty"`    // highest incarnations, by slot
	Actions  map[string]string `json:"actions,omitempty"`  // highest version of its action seen, by stage
	Leases   []*lease          `json:"leases,omitempty"`   // wanted or fired, not arrived
	Unknown  []unknown         `json:"unknown,omitempty"`  // activations completed before we knew their leases
	LeaseN   uint64            `json:"leaseN"`             // ids given
	Barrier  uint64            `json:"barrier"`            // last complete
	Skip     uint64            `json:"skip,omitempty"`     // barriers up to this number may have been sent
	Trimmed  []position        `json:"trimmed,omitempty"`

	Restarts map[string]int     `json:"restartsBy,omitempty"` // by their causes
	Renewals int                `json:"renewals,omitempty"`
	Moves    int                `json:"moves,omitempty"`
	Why      []control.WhyEntry `json:"why,omitempty"`

	TookOver bool     `json:"tookOver,omitempty"` // Restore was called, Step not yet
	Progress progress `json:"progress"`
	Outlook  outlook  `json:"outlook"`
}

// timing is Config's durations in milliseconds.
type timing struct {
	PauseGrace     int64 `json:"pauseGrace"`
	Lease          int64 `json:"lease"`
	BarrierEvery   int64 `json:"barrierEvery"`
	BarrierTimeout int64 `json:"barrierTimeout"`
	Start          int64 `json:"start"`
	Return         int64 `json:"return"`
}

// slot is one slot and its holder. A slot without a worker is empty.
type slot struct {
	pipeline.Slot
	Incarnation uint64 `json:"incarnation"` // of the present or the last holder
	Worker      string `json:"worker,omitempty"`
	Addr        string `json:"addr,omitempty"`
	Ready       bool   `json:"ready,omitempty"`
	Ended       bool   `json:"ended,omitempty"`
	AwayMS      int64  `json:"awayMs,omitempty"` // its worker has to come back to us, since then

	Lease      string `json:"lease,omitempty"`      // of the open /run
	Activation string `json:"activation,omitempty"` // the same
	ArrivedMS  int64  `json:"arrivedMs,omitempty"`
	DeadlineMS int64  `json:"deadlineMs,omitempty"`
	ReleaseMS  int64  `json:"releaseMs,omitempty"` // we asked for the answer of the /run
	FreeMS     int64  `json:"freeMs,omitempty"`    // the platform has it: the next lease may come

	Position int64   `json:"position,omitempty"` // of a source at the last complete barrier
	Losses   []int64 `json:"losses,omitempty"`   // those of the last minute
	LossN    int     `json:"lossN,omitempty"`    // all
	AfterMS  int64   `json:"afterMs,omitempty"`  // empty: no lease before
	Reason   string  `json:"reason,omitempty"`   // why it is empty or not ready, in words
	Idle     bool    `json:"idle,omitempty"`     // empty: its holder was let go in order, in an attempt that is over

	Prepared uint64 `json:"prepared,omitempty"` // the last version its worker knows of
	Action   string `json:"action,omitempty"`   // version of the action its container runs
	Move     string `json:"move,omitempty"`     // why it is to get another container; "": it isn't
}

func (s *slot) held() bool { return s.Worker != "" }

// between is true while the holder has no open /run, or was asked to end it.
func (s *slot) between() bool { return s.held() && s.ReleaseMS != 0 }

// lease is a one-time id on its way to a container.
type lease struct {
	ID         string `json:"id"`
	Stage      string `json:"stage"`
	AtMS       int64  `json:"atMs,omitempty"`       // to be fired then; 0: it was
	After      string `json:"after,omitempty"`      // or as soon as this activation is over
	FiredMS    int64  `json:"firedMs,omitempty"`    // last
	Activation string `json:"activation,omitempty"` // once the platform has taken it
	Tries      int    `json:"tries,omitempty"`      // refusals and failures
	Failures   int    `json:"failures,omitempty"`   // activations that ended before they came to us
	Refused    bool   `json:"refused,omitempty"`    // the platform has not taken it yet, when last asked
	Reason     string `json:"reason,omitempty"`     // of the last refusal
	Spare      bool   `json:"spare,omitempty"`      // fired for a stand-by that isn't there
}

// unknown is an activation whose completion came before the answer that says which lease it is.
type unknown struct {
	Activation string `json:"activation"`
	Reason     string `json:"reason,omitempty"`
	AtMS       int64  `json:"atMs"`
}

// position of a source stage that its client was told.
type position struct {
	Stage    string `json:"stage"`
	Position int64  `json:"position"`
}

// progress is the barrier under way. It is lost without harm when an owner dies, so it makes no
// snapshot dirty.
type progress struct {
	Number  uint64  `json:"number,omitempty"` // 0: none
	BeganMS int64   `json:"beganMs,omitempty"`
	LastMS  int64   `json:"lastMs,omitempty"` // when the last one began
	Idle    int     `json:"idle,omitempty"`   // complete ones in a row before which no source went on
	Marks   []*mark `json:"marks,omitempty"`  // of sources and sinks, in the order of the slots
}

// mark is what a source or a sink has still to say, or has said, on the barrier.
type mark struct {
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation"`
	Done        bool          `json:"done,omitempty"`
	Position    int64         `json:"position,omitempty"`
}

func (b *Brain) slot(s pipeline.Slot) *slot {
	for _, x := range b.s.Slots {
		if x.Slot == s {
			return x
		}
	}
	return nil
}

// places lists all that somebody holds or is to hold: the slots, and those that join a change.
func (b *Brain) places() []*slot {
	out := slices.Clone(b.s.Slots)
	if c := b.s.Change; c != nil {
		out = append(out, c.Joining...)
	}
	return out
}

// speaker is the place that h speaks for; nil when h is of the past.
func (b *Brain) speaker(h Holder) *slot {
	for _, s := range b.places() {
		if s.Slot == h.Slot && s.held() && s.Incarnation == h.Incarnation {
			return s
		}
	}
	return nil
}

// incarnation gives the next holder of a slot its number, which no other ever had.
func (b *Brain) incarnation(s pipeline.Slot) uint64 {
	n := b.s.Given[s.String()]
	for _, x := range b.places() {
		if x.Slot == s {
			n = max(n, x.Incarnation)
		}
	}
	if b.s.Given == nil {
		b.s.Given = map[string]uint64{}
	}
	b.s.Given[s.String()] = n + 1
	return n + 1
}

// replicas is how many slots a stage has.
func (b *Brain) replicas(stage string) int {
	if n, ok := b.s.Replicas[stage]; ok {
		return n
	}
	return b.s.Pipeline.Stage(stage).Replicas.Min
}

func (b *Brain) stageSlots(stage string) []*slot {
	var out []*slot
	for _, s := range b.s.Slots {
		if s.Stage == stage {
			out = append(out, s)
		}
	}
	return out
}

// stageSize counts them; every tick asks for every slot, so nothing is made for it.
func (b *Brain) stageSize(stage string) int {
	n := 0
	for _, s := range b.s.Slots {
		if s.Stage == stage {
			n++
		}
	}
	return n
}

func (b *Brain) source(s *slot) bool { return b.s.Pipeline.Stage(s.Stage).Source != nil }
func (b *Brain) sink(s *slot) bool   { return b.s.Pipeline.Stage(s.Stage).Sink != nil }
