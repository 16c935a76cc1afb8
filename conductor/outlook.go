package conductor

import "fmt"

const (
	askFresh   = 1000 // ms that a good answer of the platform counts
	askShare   = 20   // a question may wait for its answer for such a share of the lease's time
	suspendCap = 30_000
)

// outlook is what is known of whether leases can be had, and when the brain was last told anything. It is
// lost without harm when an owner dies, so it makes no snapshot dirty.
type outlook struct {
	AskedMS   int64  `json:"askedMs,omitempty"` // the platform was asked then and has not answered; 0: none waits
	AskMS     int64  `json:"askMs,omitempty"`   // it isn't asked again before
	GoodMS    int64  `json:"goodMs,omitempty"`  // its last good answer
	Tries     int    `json:"tries,omitempty"`   // bad answers since
	Reason    string `json:"reason,omitempty"`  // of the last of them
	SteppedMS int64  `json:"steppedMs,omitempty"`
}

// answers tells whether the platform has answered just now; else it is asked. A holder gives its lease
// away only then: whether there is another shows only afterwards.
func (b *Brain) answers() bool {
	p := &b.s.Outlook
	if p.GoodMS != 0 && b.now-p.GoodMS < askFresh {
		return true
	}
	if p.AskedMS == 0 && b.now >= p.AskMS {
		p.AskedMS = b.now
		b.do(Ask{})
	}
	return false
}

// releasing: a release waits for the platform's answer, and the next barrier for the release, a moment at most.
func (b *Brain) releasing() bool {
	at := b.s.Outlook.AskedMS
	return at != 0 && b.now-at < askFresh
}

// platform is the answer to Ask.
func (b *Brain) platform(e Platform) {
	p := &b.s.Outlook
	if p.AskedMS = 0; e.Reason == "" {
		b.good()
		return
	}
	if p.Tries++; p.Tries == 1 && b.active() {
		b.note("platform does not answer", "", e.Reason)
	}
	p.Reason, p.GoodMS = brief(e.Reason), 0
	p.AskMS = b.now + backoff("platform "+b.s.Pipeline.Name, p.Tries, lastBackoff)
}

func (b *Brain) good() {
	p := &b.s.Outlook
	if p.Tries > 0 && b.active() {
		b.note("platform answers", "", "again, after "+p.Reason)
		for _, s := range b.leased() {
			s.waitAgain(b.now)
		}
	}
	p.GoodMS, p.AskMS, p.Tries, p.Reason = b.now, 0, 0, ""
}

// outlookIsGood: nothing is known against the platform, and it isn't being asked.
func (b *Brain) outlookIsGood() bool { return b.s.Outlook.Tries == 0 && b.s.Outlook.AskedMS == 0 }

// outage is why no lease can be had, in words; "" when nothing is known against it.
func (b *Brain) outage() string {
	for _, l := range b.s.Leases {
		if l.Refused && !b.forStandBy(l) {
			return l.Reason
		}
	}
	return b.away()
}

// away is outage without the word on leases.
func (b *Brain) away() string {
	p := &b.s.Outlook
	switch {
	case p.Tries > 0 && p.AskedMS == 0:
		return "the platform does not answer: " + p.Reason
	case p.AskedMS != 0 && b.now-p.AskedMS >= b.s.Timing.Lease/askShare:
		return fmt.Sprintf("the platform has not answered for %s", duration(b.now-p.AskedMS))
	}
	return ""
}

// refusing tells whether the platform gives a stage no leases: another container is not to be had, so
// that a holder without a lease is as good as any.
func (b *Brain) refusing(stage string) bool {
	if b.away() != "" {
		return true
	}
	for _, l := range b.s.Leases {
		if l.Stage == stage && l.Refused {
			return true
		}
	}
	return false
}

// noteGap: while nothing was told, nothing could be decided; the registry didn't answer, or this host
// slept. What workers waited for was us, so their time begins anew.
func (b *Brain) noteGap() {
	gap := b.now - b.s.Outlook.SteppedMS
	first := b.s.Outlook.SteppedMS == 0
	b.s.Outlook.SteppedMS = b.now
	if first || gap < b.s.Timing.PauseGrace/5 {
		return
	}
	for _, s := range b.leased() {
		s.waitAgain(b.now)
		if s.ReleaseMS != 0 {
			s.ReleaseMS = b.now
		}
		if s.AwayMS != 0 {
			s.AwayMS = b.now
		}
	}
	if b.s.Outlook.AskedMS != 0 {
		b.s.Outlook.AskedMS = b.now
	}
}

// waitAgain: a holder that waits for a lease has all its time from now on.
func (s *slot) waitAgain(now int64) {
	if s.held() && s.FreeMS != 0 {
		s.FreeMS = now
	}
}
