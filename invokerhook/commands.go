package invokerhook

import (
	"fmt"
	"slices"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
)

// do carries out one command of the brain.
func (o *owner) do(c conductor.Command) {
	switch c := c.(type) {
	case conductor.FireLease:
		o.fire(c)
	case conductor.Ask:
		o.ask()
	case conductor.Decide:
		o.decide(c)
	case conductor.DecideReturn:
		o.decideReturn(c)
	case conductor.ToWorker:
		o.tell(c)
	case conductor.Trim:
		o.relay.trim(control.Transfer{Namespace: o.namespace, Pipeline: o.pipeline, Slot: slotOf(c.Stage), Offset: c.Position})
	case conductor.Note:
		o.log.Info().Str("slot", c.Entry.Slot).Str("what", c.Entry.What).Msg("happened")
		if c.Entry.What == conductor.LeaseLost {
			o.hook.turnedAway(NeverCame, fmt.Errorf("pipeline %s, stage %s: no container has brought it", o.name, c.Entry.Slot), "lease")
		}
		// A reason may quote what a function has printed: that is the user's, for weft why.
		o.log.Debug().Str("reason", c.Entry.Reason).Msg("because")
	case conductor.Finished:
		o.finish(c.Error)
	}
}

// decide answers a lease. With Take goes all that the worker needs, a certificate for its key among it.
func (o *owner) decide(c conductor.Decide) {
	key := arrivedKey(c.LeaseID, c.Worker)
	it, ok := o.asking[key]
	if !ok {
		return
	}
	delete(o.asking, key)
	reply := control.LeaseReply{Verdict: c.Verdict, Reason: c.Reason}
	if e, ok := it.event.(conductor.Arrived); ok && c.Verdict != control.Refused {
		// Not before: whoever replays a lease may name any activation. Not here: the completion may have come.
		o.calls.Go(func() { o.hook.acts.bind(e.ActivationID, o) })
	}
	switch c.Verdict {
	case control.Take, control.Renewed:
		a, err := o.assignment(c, it.csr)
		if err != nil {
			o.log.Warn().Err(err).Str("worker", c.Worker).Msg("no certificate for a worker")
			reply = control.LeaseReply{Verdict: control.Leave, Reason: err.Error()}
			it.peer.put(outgoing{answer: it.answer, body: reply})
			// The brain has given the slot away: it must hear that nobody holds it.
			failed := conductor.Failed{Slot: conductor.Holder{Slot: c.Slot, Incarnation: c.Incarnation}, Reason: err.Error()}
			o.calls.Go(func() { o.post(item{event: failed}) })
			return
		}
		reply.Assignment = a
		it.peer.give(&grant{o.name, c.Slot, c.Incarnation})
		if it.peer.over() { // and there was no time yet to ask again
			gone := conductor.Gone{Worker: c.Worker, Cause: conductor.CauseHook, Reason: "its connection was lost before it could hear of the slot"}
			o.calls.Go(func() { o.post(item{event: gone}) })
		}
	case control.Leave, control.Refused, control.Released:
		if l := o.leases[c.LeaseID]; l != nil && l.worker == c.Worker {
			l.asked = true
		}
	}
	it.peer.put(outgoing{answer: it.answer, body: reply})
}

// assignment is for a new holder, and for one whose renewal asks for a fresh certificate.
func (o *owner) assignment(c conductor.Decide, csr []byte) (*control.Assignment, error) {
	if c.Verdict == control.Renewed && len(csr) == 0 {
		return nil, nil
	}
	cert, err := o.certificate(csr, c.Slot, c.Incarnation)
	if err != nil {
		return nil, err
	}
	now, next := o.brain.Assignment()
	return &control.Assignment{
		Namespace: o.namespace, Pipeline: o.brain.Pipeline(), Slot: c.Slot, Incarnation: c.Incarnation,
		Term: o.brain.Term(), Attempt: c.Attempt, KeySeed: o.brain.KeySeed(),
		Cert: cert, CA: o.ca.Certificate(), Holders: now, Next: next, Joins: c.Joins, Position: c.Position,
	}, nil
}

func (o *owner) decideReturn(c conductor.DecideReturn) {
	key := returnedKey(c.Worker)
	it, ok := o.asking[key]
	if !ok {
		return
	}
	delete(o.asking, key)
	if inv := it.event.(conductor.Returned).Inventory; c.Keep {
		it.peer.give(&grant{o.name, inv.Slot, inv.Incarnation})
		o.hook.rings.askAgain()
	}
	it.peer.put(outgoing{answer: it.answer, body: control.HelloReply{Version: control.Version, Hook: o.hook.cfg.Host,
		Keep: c.Keep, Reason: c.Reason}})
}

// tell passes a message on to a worker, and notes which leases end because we say so.
func (o *owner) tell(c conductor.ToWorker) {
	switch b := c.Body.(type) {
	case control.Release:
		o.asked(b.LeaseID, "")
	case control.Terminate:
		o.asked("", c.Worker)
	case *control.Peers:
		if o.peers.of != b {
			o.peers.of, o.peers.body = b, control.Share(b)
		}
		o.hook.toWorker(c.Worker, c.Type, o.peers.body)
		return
	}
	o.hook.toWorker(c.Worker, c.Type, c.Body)
}

// latest leaves out what is said again at once: peers to a worker that is told of newer ones next. Of many
// that start together, each would otherwise hear of each.
func latest(commands []conductor.Command) []conductor.Command {
	next := map[string]bool{} // whether the next word to a worker is on its peers
	for i := len(commands) - 1; i >= 0; i-- {
		switch c := commands[i].(type) {
		case conductor.Decide:
			next[c.Worker] = false
		case conductor.DecideReturn:
			next[c.Worker] = false
		case conductor.ToWorker:
			_, peers := c.Body.(*control.Peers)
			if peers && next[c.Worker] {
				commands[i] = nil
			}
			next[c.Worker] = peers
		}
	}
	return slices.DeleteFunc(commands, func(c conductor.Command) bool { return c == nil })
}

// finish leaves only the term of the pipeline in the registry, and ends the owner.
func (o *owner) finish(failure string) {
	o.over = true
	o.log.Info().Bool("failed", failure != "").Msg("pipeline ended")
	err := o.ledger.write(o.ctx, record{Host: o.hook.cfg.Host, Term: o.brain.Term(), EndedMS: o.hook.cfg.Now().UnixMilli()})
	if err != nil {
		// The brain's snapshot says that it has finished: the next owner ends it again.
		o.log.Error().Err(err).Msg("write the pipeline's end to the registry")
	}
	o.hook.retire(o)
}
