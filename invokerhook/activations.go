package invokerhook

import (
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// Bounds of what is kept because it may turn out to be of use.
const (
	maxUnclaimed = 4096            // completions: Kafka can be faster than the REST call's answer
	maxPlaces    = 4096            // activations whose invoker is known
	ackWait      = 2 * time.Second // after the event of an end; then the ack is taken for lost
)

// completion is what Kafka said of an activation's end.
type completion struct {
	activationID string
	status       *openwhisk.StatusCode // nil: not said
}

// activations knows whose an activation is, where it runs, and that it has ended.
type activations struct {
	mu        sync.Mutex
	owners    map[string]*owner
	unclaimed bounded[completion]
	places    bounded[string]   // invokers' names
	ends      map[string]ending // of activations in owners
}

// ending is an end that the topic events told of, before its ack came.
type ending struct {
	completion
	at time.Time
}

func newActivations() *activations {
	return &activations{owners: map[string]*owner{}, ends: map[string]ending{},
		unclaimed: bounded[completion]{most: maxUnclaimed}, places: bounded[string]{most: maxPlaces}}
}

// bind says that an activation is a lease of the owner's. A completion that came first is delivered.
func (a *activations) bind(id string, o *owner) {
	if id == "" {
		return
	}
	a.mu.Lock()
	c, early := a.unclaimed.of[id]
	if early {
		delete(a.unclaimed.of, id)
	} else {
		a.owners[id] = o
	}
	a.mu.Unlock()
	if early {
		o.post(item{completion: &c})
	}
}

// complete delivers a completion to whose it is; activations of others are soon forgotten.
func (a *activations) complete(c completion) {
	a.mu.Lock()
	o := a.owners[c.activationID]
	a.forgetLocked(c.activationID)
	if o == nil {
		a.unclaimed.put(c.activationID, c)
	}
	a.mu.Unlock()
	if o != nil {
		o.post(item{completion: &c})
	}
}

// ended notes the event of an activation's end. The ack says when its container is free, so it is
// waited for.
func (a *activations) ended(c completion, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, again := a.ends[c.activationID]; !again && a.owners[c.activationID] != nil {
		a.ends[c.activationID] = ending{c, at}
	}
}

// overdue completes the activations that have ended and whose ack did not come.
func (a *activations) overdue(now time.Time) {
	var late []completion
	a.mu.Lock()
	for _, e := range a.ends {
		if now.Sub(e.at) >= ackWait {
			late = append(late, e.completion)
		}
	}
	a.mu.Unlock()
	for _, c := range late {
		a.complete(c)
	}
}

// place notes the invoker that an activation was given to.
func (a *activations) place(id, invoker string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.places.put(id, invoker)
}

// invokerOf is the name of the invoker that has an activation; "" when nobody said.
func (a *activations) invokerOf(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.places.of[id]
}

// leave takes an invoker's activations off it, each owner's apart.
func (a *activations) leave(invoker string) map[*owner][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[*owner][]string{}
	for id, o := range a.owners {
		if a.places.of[id] == invoker {
			delete(a.places.of, id)
			out[o] = append(out[o], id)
		}
	}
	return out
}

// forget drops an activation whose end won't be heard of any more.
func (a *activations) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetLocked(id)
}

func (a *activations) forgetLocked(id string) {
	delete(a.owners, id)
	delete(a.ends, id)
	delete(a.places.of, id)
}

// release forgets the activations of an owner that has ended.
func (a *activations) release(o *owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, of := range a.owners {
		if of == o {
			a.forgetLocked(id)
		}
	}
}

// bounded is a map that drops what it was given first when it has too much.
type bounded[V any] struct {
	most  int
	of    map[string]V
	order []string // keys, oldest first; some are gone
}

func (b *bounded[V]) put(key string, v V) {
	if b.of == nil {
		b.of = map[string]V{}
	}
	if _, again := b.of[key]; !again {
		b.order = append(b.order, key)
	}
	b.of[key] = v
	if len(b.order) > b.most {
		delete(b.of, b.order[0])
		b.order = b.order[1:]
	}
}
