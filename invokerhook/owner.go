package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
)

// Bounds of an owner.
const (
	ownerQueue = 1024                   // items not yet given to the brain
	ownerRest  = 16                     // REST calls under way
	retryEvery = 500 * time.Millisecond // of writing to a registry that doesn't answer
)

// owner runs one pipeline: a goroutine gives the brain what happens, writes what it decided to the
// registry, and only then does it.
type owner struct {
	hook                      *Hook
	name, namespace, pipeline string
	log                       zerolog.Logger
	client                    *openwhisk.Client
	ca                        *identity.CA
	secrets                   record // APIKey and CA, for each record that is written
	spec                      pipeline.Pipeline
	ingress                   string // the stage; "" without one
	guests                    guests
	journal                   journal
	stats                     statsBoard
	relay                     *relay

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}  // closed when ownLoop has ended
	calls  sync.WaitGroup // REST calls
	rest   chan struct{}  // ownerRest places
	queue  chan item

	// Of ownLoop only.
	brain  *conductor.Brain
	ledger *ledger
	leases map[string]*lease // by id
	asking map[string]item   // Arrived and Returned not yet decided, by askKey
	over   bool
	peers  struct { // the last that were told, to be encoded once
		of   *control.Peers
		body *control.Shared
	}

	viewMu  sync.Mutex
	view    view
	changed chan struct{} // closed and replaced at every new view
}

// item is what comes in: an event, or a completion that becomes one.
type item struct {
	event      conductor.Event
	completion *completion
	peer       *peer // whose call it is
	answer     func(control.Answer)
	csr        []byte
}

func (h *Hook) newOwner(namespace, pipeline string, brain *conductor.Brain, l *ledger, secrets record) (*owner, error) {
	o := &owner{hook: h, name: namespace + "/" + pipeline, namespace: namespace, pipeline: pipeline,
		log:     h.log.With().Str("pipeline", namespace+"/"+pipeline).Logger(),
		secrets: record{APIKey: secrets.APIKey, CA: secrets.CA},
		brain:   brain, ledger: l, done: make(chan struct{}), rest: make(chan struct{}, ownerRest),
		queue: make(chan item, ownerQueue), leases: map[string]*lease{}, asking: map[string]item{}, changed: make(chan struct{})}
	var err error
	pl := brain.Pipeline()
	o.spec, o.ingress = pl, ingressOf(brain)
	if o.ca, err = loadAuthority(secrets.CA); err != nil {
		return nil, err
	}
	if o.client, err = h.platform.client(secrets.APIKey); err != nil {
		return nil, err
	}
	if o.relay, err = h.relayOf(o.name); err != nil {
		return nil, err
	}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.publish()
	return o, nil
}

// post hands an item over. Once the pipeline has ended, calls get their answer here.
func (o *owner) post(it item) {
	select {
	case <-o.ctx.Done():
	default:
		select {
		case o.queue <- it:
			return
		case <-o.ctx.Done():
		}
	}
	o.turnAway(it)
}

// turnAway answers a call that the brain won't hear of.
func (o *owner) turnAway(it item) {
	if it.answer == nil {
		return
	}
	reason := "pipeline " + o.name + " has ended"
	switch it.event.(type) {
	case conductor.Arrived:
		it.answer(control.Answer{Body: control.LeaseReply{Verdict: control.Refused, Reason: reason}})
	case conductor.Returned:
		it.answer(control.Answer{Body: control.HelloReply{Version: control.Version, Hook: o.hook.cfg.Host, Reason: reason}})
	default:
		it.answer(control.Answer{Err: errors.New(reason)})
	}
}

// start begins the owner's goroutine; close ends it.
func (o *owner) start() { go o.ownLoop() }

func (o *owner) close() {
	o.cancel()
	<-o.done
}

// ownLoop owns the brain. Everything that has come in is given to it at once, so that one write to the
// registry serves all of it.
func (o *owner) ownLoop() {
	defer close(o.done)
	defer o.end()
	tick := time.NewTimer(o.brain.Wait(o.hook.now()))
	defer tick.Stop()
	for !o.over {
		var batch []item
		select {
		case <-o.ctx.Done():
			return
		case <-tick.C:
			batch = append(batch, item{event: conductor.Tick{}})
		case it := <-o.queue:
			batch = append(batch, it)
		}
		for more := true; more && len(batch) < ownerQueue; {
			select {
			case it := <-o.queue:
				batch = append(batch, it)
			default:
				more = false
			}
		}
		if err := o.work(batch); err != nil {
			o.log.Error().Err(err).Msg("pipeline given up")
			o.publishLost(err)
			return
		}
		tick.Reset(o.brain.Wait(o.hook.now()))
	}
}

// work is one turn: events, snapshot, commands.
func (o *owner) work(batch []item) error {
	var commands []conductor.Command
	ticks := 0
	for i := range batch {
		it := &batch[i]
		if it.event == (conductor.Tick{}) {
			ticks++
		}
		if e := o.admit(it); e != nil {
			commands = append(commands, o.brain.Step(o.hook.now(), e)...)
		}
	}
	if o.brain.Dirty() {
		if err := o.persist(); err != nil {
			return err
		}
	} else if len(commands) == 0 && ticks == len(batch) {
		return nil // time has passed, and nothing else
	}
	for _, c := range latest(commands) {
		o.do(c)
	}
	o.publish()
	for _, it := range batch { // whoever asked for a change sees it in the view
		if asksForChange(it.event) && it.answer != nil {
			it.answer(control.Answer{})
		}
	}
	return nil
}

// admit notes what the owner must know of an item and returns the brain's part of it.
func (o *owner) admit(it *item) conductor.Event {
	if it.completion != nil {
		return o.completed(it.completion)
	}
	switch e := it.event.(type) {
	case conductor.Scale, conductor.Restart:
		return o.admitChange(it)
	case conductor.LeaseFired:
		if l := o.leases[e.LeaseID]; l != nil {
			l.activationID = e.ActivationID
		}
	case conductor.LeaseRefused:
		delete(o.leases, e.LeaseID)
	case conductor.Arrived:
		// The first who brings it; whoever does so again is a replay's.
		if l := o.leases[e.LeaseID]; l != nil && l.worker == "" {
			l.activationID, l.worker = e.ActivationID, e.Worker
		}
		key := arrivedKey(e.LeaseID, e.Worker)
		if old, again := o.asking[key]; again {
			// Of a connection that was lost, or a replay's.
			old.peer.put(outgoing{answer: old.answer, body: control.LeaseReply{Verdict: control.Refused, Reason: "it was asked again"}})
		}
		o.asking[key] = *it
	case conductor.Returned:
		o.asking[returnedKey(e.Worker)] = *it
	}
	return it.event
}

func arrivedKey(lease, worker string) string { return "lease " + lease + " " + worker }
func returnedKey(worker string) string       { return "return " + worker }

// persist writes the snapshot, and doesn't return before that is done or somebody else owns the pipeline.
func (o *owner) persist() error {
	rec := o.secrets
	rec.Host, rec.Term, rec.Snapshot = o.hook.cfg.Host, o.brain.Term(), o.brain.Snapshot()
	for broken := false; ; broken = true {
		var err error
		if broken {
			err = o.reopen()
		}
		if errors.Is(err, errFenced) {
			return err
		}
		if err == nil {
			if err = o.ledger.write(o.ctx, rec); err == nil {
				return nil
			}
			// Kafka may have taken it or not, or do so late, within a later transaction of this producer. A new
			// producer ends that: the brokers refuse what is left of the old one.
			if !broken {
				o.log.Debug().Err(err).Msg("writing to the registry once more, with a new producer")
				continue
			}
		}
		o.log.Warn().Err(err).Msg("registry doesn't answer: the pipeline goes on, nothing is decided")
		o.publishStall(err)
		select {
		case <-o.ctx.Done():
			return fmt.Errorf("stopped before the registry answered: %w", err)
		case <-time.After(retryEvery):
		}
	}
}

// reopen gets the right to write back, unless another owner has it.
func (o *owner) reopen() error {
	l, err := o.hook.registry.reopenLedger(o.ctx, o.name, o.brain.Term())
	if err != nil {
		return err
	}
	o.ledger.close()
	o.ledger = l
	return nil
}

// end stops what the owner started. Calls that wait are answered, so that no proxy hangs; but when the hook
// closes, and their connections with it, leases that stand by are for the next one to decide on.
func (o *owner) end() {
	closing := o.ctx.Err() != nil
	o.cancel()
	o.calls.Wait()
	o.ledger.close()
	for _, it := range o.asking {
		if !closing {
			o.turnAway(it)
		}
	}
	for {
		select {
		case it := <-o.queue:
			o.turnAway(it)
		default:
			o.hook.acts.release(o)
			return
		}
	}
}
