package conductor

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

const (
	strayWait    = 200  // ms from a stray's dismissal to the next lease, unless its activation ends before
	firstBackoff = 200  // ms, doubled with each refusal
	lastBackoff  = 5000 // ms
	maxTries     = 10   // activations of one lease that fail while the pipeline runs
	maxUnknown   = 64
)

// wantLeases keeps as many leases on their way to each stage as it has slots that wait for one, and
// fires those whose time has come.
func (b *Brain) wantLeases() {
	for _, stage := range b.s.Pipeline.SinksFirst() {
		b.want(stage, false, b.waiting(stage))
		b.want(stage, true, b.standBysMissing(stage))
	}
	b.fireLeases()
}

// want sees to it that n leases to a stage are on their way: those of slots, or the spare ones.
func (b *Brain) want(stage string, spare bool, n int) {
	missing := n - b.onTheirWay(stage, spare)
	for ; missing > 0; missing-- {
		b.addLease(stage, b.now, "").Spare = spare
	}
	for i := len(b.s.Leases) - 1; i >= 0 && missing < 0; i-- {
		if l := b.s.Leases[i]; l.Stage == stage && l.Spare == spare && l.AtMS != 0 {
			b.s.Leases = slices.Delete(b.s.Leases, i, i+1)
			missing++
		}
	}
}

func (b *Brain) onTheirWay(stage string, spare bool) int {
	n := 0
	for _, l := range b.s.Leases {
		if l.Stage == stage && l.Spare == spare {
			n++
		}
	}
	return n
}

// waiting counts who wants a lease: the stage's empty slots, and holders and stand-bys between two.
func (b *Brain) waiting(stage string) int {
	if b.s.Phase == control.Suspended { // one, to see whether it can be had
		if stage == b.s.Pipeline.SinksFirst()[0] {
			return 1
		}
		return 0
	}
	n := 0
	for _, s := range b.stageSlots(stage) {
		if s.wants(b.now) && !b.outdated(s) {
			n++
		}
	}
	if c := b.s.Change; c != nil {
		for _, j := range c.Joining {
			if j.Stage == stage && j.wants(b.now) {
				n++
			}
		}
	}
	for _, p := range b.s.StandBys {
		if p.Stage == stage && p.held() && p.wants(b.now) && !b.outdated(p) {
			n++
		}
	}
	return n
}

// wantsLeases is true while leases are on their way.
func (b *Brain) wantsLeases() bool { return b.active() || b.s.Phase == control.Suspended }

// LeaseLost is what why says of a lease that no container has brought.
const LeaseLost = "lease lost"

// wants tells whether a lease is wanted for s: it is empty, or its holder is between two.
func (s *slot) wants(now int64) bool {
	return !s.held() && s.AfterMS <= now || s.held() && s.FreeMS != 0
}

func (b *Brain) fireLeases() {
	b.s.Leases = slices.DeleteFunc(b.s.Leases, func(l *lease) bool {
		gone := l.AtMS == 0 && b.now-l.FiredMS >= b.s.Timing.Start
		if gone {
			b.note(LeaseLost, l.Stage, fmt.Sprintf("activation %s did not reach the hook within %s; another is fired",
				orUnknown(l.Activation), duration(b.s.Timing.Start)))
		}
		return gone
	})
	for _, l := range b.s.Leases {
		if l.AtMS != 0 && l.AtMS <= b.now {
			l.AtMS, l.After, l.Activation, l.FiredMS = 0, "", "", b.now
			b.do(FireLease{LeaseID: l.ID, Stage: l.Stage})
		}
	}
}

// addLease makes a lease to be fired at a time, or as soon as the activation after is over.
func (b *Brain) addLease(stage string, at int64, after string) *lease {
	b.s.LeaseN++
	h := sha256.New()
	fmt.Fprintf(h, "weft lease id %s/%s ", b.s.Namespace, b.s.Pipeline.Name)
	_ = binary.Write(h, binary.LittleEndian, [2]uint64{b.s.KeySeed, b.s.LeaseN}) // to a hash: can't fail
	id := hex.EncodeToString(h.Sum(nil)[:16])
	l := &lease{ID: id, Stage: stage, AtMS: at, After: after}
	b.s.Leases = append(b.s.Leases, l)
	return l
}

// useLease takes a lease off its way; false when it isn't on one to this stage.
func (b *Brain) useLease(id, stage string) bool {
	n := len(b.s.Leases)
	b.s.Leases = slices.DeleteFunc(b.s.Leases, func(l *lease) bool { return l.ID == id && l.Stage == stage })
	return len(b.s.Leases) < n
}

func (b *Brain) findLease(id string) *lease {
	for _, l := range b.s.Leases {
		if l.ID == id {
			return l
		}
	}
	return nil
}

func (b *Brain) leaseFired(e LeaseFired) {
	l := b.findLease(e.LeaseID)
	if l == nil {
		return // it has arrived already
	}
	l.Activation = e.ActivationID
	b.taken(l)
	for i, u := range b.s.Unknown {
		if u.Activation == e.ActivationID {
			b.s.Unknown = slices.Delete(b.s.Unknown, i, i+1)
			b.fellThrough(l, u.Reason)
			return
		}
	}
}

func (b *Brain) leaseRefused(e LeaseRefused) {
	l := b.findLease(e.LeaseID)
	if l == nil || !b.wantsLeases() {
		return
	}
	reason := "the platform refused its lease: " + e.Reason
	if l.Spare {
		b.forgo(l, reason)
		return
	}
	if !e.Retry {
		b.hopeless(l, reason)
		return
	}
	if l.Tries == 0 {
		b.note("lease refused", l.Stage, e.Reason)
	}
	b.retry(l, reason)
	l.Refused = true
	if e.Full && !b.forStandBy(l) && !b.forChange(l) {
		b.sacrifice(l.Stage)
	}
}

// taken: the platform has a lease. If it refused that before, holders that wait for one have their time
// from now on.
func (b *Brain) taken(l *lease) {
	b.good()
	if l.Refused {
		l.Refused = false
		for _, s := range b.leased() {
			if s.Stage == l.Stage {
				s.waitAgain(b.now)
			}
		}
	}
}

func (b *Brain) retry(l *lease, reason string) {
	l.Tries++
	l.Reason, l.Activation = reason, ""
	most := int64(lastBackoff)
	if b.s.Phase == control.Suspended {
		most = suspendCap
	}
	l.AtMS = b.now + backoff(l.ID, l.Tries, most)
}

// backoff doubles with n up to the most that it may be, and lies between half and all of that, at a place that id and n decide.
func backoff(id string, n int, most int64) int64 {
	full := min(most, firstBackoff<<min(n-1, 10))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, n))
	return full/2 + full*int64(sum[0])/512
}

func (b *Brain) leaseCompleted(e LeaseCompleted) {
	if e.ActivationID == "" {
		return
	}
	for _, l := range b.s.Leases {
		if l.After == e.ActivationID {
			l.AtMS, l.After = b.now, ""
		}
	}
	for _, s := range b.leased() {
		if s.Activation == e.ActivationID {
			b.released(s, e)
			return
		}
	}
	unfired := false
	for _, l := range b.s.Leases {
		if l.Activation == e.ActivationID {
			b.fellThrough(l, e.Reason)
			return
		}
		unfired = unfired || l.AtMS == 0 && l.Activation == ""
	}
	if !unfired {
		return // of a container that was dismissed
	}
	if len(b.s.Unknown) == maxUnknown {
		b.s.Unknown = b.s.Unknown[1:]
	}
	b.s.Unknown = append(b.s.Unknown, unknown{Activation: e.ActivationID, Reason: brief(e.Reason), AtMS: b.now})
}

// fellThrough: a lease's activation is over before it reached the hook, so its code is broken.
func (b *Brain) fellThrough(l *lease, reason string) {
	if !b.wantsLeases() {
		return
	}
	if reason == "" {
		reason = "its activation ended without reaching the hook"
	}
	if l.Spare {
		b.forgo(l, reason)
		return
	}
	if l.Failures++; b.s.Phase == control.Starting || l.Failures >= maxTries || b.forChange(l) {
		b.hopeless(l, reason)
		return
	}
	b.note("lease failed", l.Stage, reason)
	b.retry(l, reason)
}

// hopeless: a lease will never come. What it was most likely for ends: a change, or the pipeline.
func (b *Brain) hopeless(l *lease, reason string) {
	if b.forChange(l) {
		b.s.Leases = slices.DeleteFunc(b.s.Leases, func(x *lease) bool { return x == l })
		b.giveUp(fmt.Sprintf("%s: %s", l.Stage, reason))
		return
	}
	if b.forStandBy(l) {
		b.forgo(l, reason)
		return
	}
	b.fail(b.nameless(l.Stage), reason)
}

// forChange tells whether no slot waits for a lease to the stage, so that it is one for those who join.
func (b *Brain) forChange(l *lease) bool {
	c := b.s.Change
	return c != nil && slices.ContainsFunc(c.Joining, func(j *slot) bool { return j.Stage == l.Stage }) &&
		!slices.ContainsFunc(b.stageSlots(l.Stage), func(s *slot) bool { return !s.held() || s.between() })
}

// nameless is the slot that a lease, which names only a stage, is most likely missed by.
func (b *Brain) nameless(stage string) *slot {
	slots := b.stageSlots(stage)
	for _, s := range slots {
		if !s.held() {
			return s
		}
	}
	return slots[0]
}

// released: the activation of a holder's lease is over, asked for or not.
func (b *Brain) released(s *slot, e LeaseCompleted) {
	switch {
	case !b.active():
		s.vacate("")
	case e.Failed:
		b.lose(s, CauseLease, "its lease's activation failed: "+e.Reason, true)
	default:
		b.freed(s)
	}
}

// freed: the platform may have the container again, so the next lease can come. Its time runs from the
// first word of that.
func (b *Brain) freed(s *slot) {
	if s.ReleaseMS == 0 {
		s.ReleaseMS = b.now
		if s.standsBy() {
			b.askBack(s) // nobody waits for the answer any more
		}
	}
	if s.FreeMS == 0 {
		s.FreeMS = b.now
	}
}

func duration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func orUnknown(activation string) string {
	if activation == "" {
		return "of unknown id"
	}
	return activation
}
