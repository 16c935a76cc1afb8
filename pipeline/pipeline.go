// Package pipeline has the nouns of a pipeline: stages, edges, slots, key groups, and the spec that
// users write. It is pure: files come through an fs.FS, nothing is started.
package pipeline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// KeyGroups is the number of hash buckets of keys per stage: the unit of routing and of keyed state.
const KeyGroups = 256

// Routing says how an edge picks among the slots of the stage it leads to.
type Routing string

// The four routings.
const (
	Balance   Routing = "balance"   // the less loaded of two random slots
	Key       Routing = "key"       // the slot that holds the key's group
	Broadcast Routing = "broadcast" // every slot
	Forward   Routing = "forward"   // the slot of the same index
)

// Transport is what carries an edge's links.
type Transport string

// The transports.
const (
	Auto Transport = "auto" // shared memory between two slots of one host that can have it, else QUIC
	SHM  Transport = "shm"  // shared memory, or the pipeline doesn't start
	QUIC Transport = "quic"
)

// Bounds of an event's payload, in bytes.
const (
	LeastMaxPayload   = 64 << 10 // what is said of an event that failed has to fit
	DefaultMaxPayload = 64 << 20
	LimitMaxPayload   = 1 << 30
)

// Guarantee is what a pipeline promises about each event.
type Guarantee string

// The guarantees.
const (
	BestEffort  Guarantee = "best-effort"
	AtLeastOnce Guarantee = "at-least-once"
	ExactlyOnce Guarantee = "exactly-once"
)

// Pipeline is a checked spec with its defaults filled in: a directed acyclic graph of stages. Its
// JSON form travels, when Public, in the conductor action's parameters and in the hook's registry.
type Pipeline struct {
	Name      string    `json:"name"`
	Guarantee Guarantee `json:"guarantee"`
	LeaseMS   int64     `json:"leaseMs"` // how long one lease is held, below the platform's time limit
	Stages    []Stage   `json:"stages"`  // sources first, in topological order
	Edges     []Edge    `json:"edges"`   // an edge's number is its index
}

// Stage is one vertex: exactly one of Source, Function and Sink is set.
type Stage struct {
	Name      string    `json:"name"`
	Source    *Source   `json:"source,omitempty"`
	Function  *Function `json:"function,omitempty"`
	Sink      *Sink     `json:"sink,omitempty"`
	Stateful  bool      `json:"stateful,omitempty"`
	Replicas  Replicas  `json:"replicas"`
	Standby   int       `json:"standby,omitempty"` // containers that have a lease and wait for a slot
	TimeoutMS int64     `json:"timeoutMs"`         // for one event
	Retries   int       `json:"retries"`           // of one event, before it goes to the error edge
	MemoryMB  int       `json:"memoryMb"`          // 0: as an existing action has it, which its deployment finds out
	// Fused are the stages that share this one's worker process, in the order of an event's way, this one's
	// namesake first. Function has what they have in common. See Fuse.
	Fused []Stage `json:"fused,omitempty"`
}

// Replicas bounds the number of a stage's slots. A start takes Min.
type Replicas struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Source says where events come from: exactly one of File, Stdin, HTTP, Ingress and Generator is set.
type Source struct {
	File      string     `json:"file,omitempty"` // path as the user wrote it, relative to the spec
	Stdin     bool       `json:"stdin,omitempty"`
	HTTP      *HTTPIn    `json:"http,omitempty"`
	Ingress   bool       `json:"ingress,omitempty"` // by invocation
	Generator *Generator `json:"generator,omitempty"`
	Format    Format     `json:"format,omitempty"` // of File, Stdin and HTTP
}

// HTTPIn is where the user's weft takes events by POST.
type HTTPIn struct {
	Listen string `json:"listen"` // HOST:PORT
	Path   string `json:"path"`
}

// Format is how bytes become events.
type Format string

// The formats. A line becomes the event {"line": "…"}; an ndjson line is the event.
const (
	Lines  Format = "lines"
	NDJSON Format = "ndjson"
)

// Generator makes events {"n": …, "data": "…"} from a seed.
type Generator struct {
	Rate  float64 `json:"rate"`  // events per second over all slots; 0: as fast as they are taken
	Count int64   `json:"count"` // 0: without end
	Seed  int64   `json:"seed"`
	Size  int     `json:"size"` // bytes of "data"
}

// Function says what runs in a stage: a file, a folder or a zip (Source), or an existing action.
type Function struct {
	Source     string            `json:"source,omitempty"`
	Action     string            `json:"action,omitempty"` // /namespace/[package/]name
	Kind       string            `json:"kind,omitempty"`   // "python:3", "go:1.26", …
	Main       string            `json:"main,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	Parameters map[string]any    `json:"parameters,omitempty"`
}

// Sink says where events go: exactly one of Stdout, File, HTTP and Reply is set. All but Reply are written by
// the user's weft.
type Sink struct {
	Stdout bool     `json:"stdout,omitempty"`
	File   string   `json:"file,omitempty"`
	HTTP   *HTTPOut `json:"http,omitempty"`
	Reply  bool     `json:"reply,omitempty"` // to whoever has invoked the ingress
}

// HTTPOut is where the user's weft posts events to.
type HTTPOut struct {
	URL string `json:"url"`
}

// Edge leads the events of From to To; with OnError those that From failed on.
type Edge struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Routing Routing `json:"routing"`
	Key     string  `json:"key,omitempty"` // path of a field, dots between its parts
	OnError bool    `json:"onError,omitempty"`
	// Transport is Auto if empty.
	Transport Transport `json:"transport,omitempty"`
	// Fuse asks for both ends to share a worker process; Apart is why they don't.
	Fuse  bool   `json:"fuse,omitempty"`
	Apart string `json:"apart,omitempty"`
	// Origin is the stage of a fused group that the events come out of, unless that is From.
	Origin string `json:"origin,omitempty"`
	// MaxPayload is the largest payload in bytes; DefaultMaxPayload if 0.
	MaxPayload int64 `json:"maxPayload,omitempty"`
}

// Largest is the largest payload in bytes that the edge takes.
func (e *Edge) Largest() int { return int(cmp.Or(e.MaxPayload, DefaultMaxPayload)) }

// Slot is one replica's place in a stage. It stays while containers come and go.
type Slot struct {
	Stage string `json:"stage"`
	Index int    `json:"index"`
}

func (s Slot) String() string { return fmt.Sprintf("%s[%d]", s.Stage, s.Index) }

// Lease is how long one lease of the pipeline is held.
func (p *Pipeline) Lease() time.Duration { return time.Duration(p.LeaseMS) * time.Millisecond }

// Stage finds a stage by name; nil when there is none.
func (p *Pipeline) Stage(name string) *Stage {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i]
		}
	}
	return nil
}

// Public is the pipeline without its functions' environment and parameters. Those are for the stages'
// own actions, which the platform keeps: nobody else needs to know them.
func (p *Pipeline) Public() Pipeline {
	out := *p
	out.Stages = slices.Clone(p.Stages)
	for i := range out.Stages {
		out.Stages[i] = out.Stages[i].public()
	}
	return out
}

func (s Stage) public() Stage {
	if s.Function != nil {
		public := *s.Function
		public.Env, public.Parameters = nil, nil
		s.Function = &public
	}
	s.Fused = slices.Clone(s.Fused)
	for i := range s.Fused {
		s.Fused[i] = s.Fused[i].public()
	}
	return s
}

// Differs says in words what, beside the transports of its edges, another spec of the pipeline has otherwise;
// "" for nothing. Transports can change while a pipeline runs, all else counts from a start on.
func (p *Pipeline) Differs(q *Pipeline) string {
	a, b := p.plain(), q.plain()
	switch {
	case equal(a, b):
		return ""
	case a.Guarantee != b.Guarantee:
		return "its guarantee"
	case a.LeaseMS != b.LeaseMS:
		return "its lease"
	}
	for _, s := range slices.Concat(a.Stages, b.Stages) {
		if was, is := a.Stage(s.Name), b.Stage(s.Name); was == nil || is == nil || !equal(*was, *is) {
			return "vertex " + s.Name
		}
	}
	if !equal(a.Edges, b.Edges) {
		return "its edges"
	}
	return "its spec"
}

// plain is the pipeline but for what can change while it runs.
func (p *Pipeline) plain() Pipeline {
	out := *p
	out.Edges = slices.Clone(p.Edges)
	for i := range out.Edges {
		out.Edges[i].Transport = ""
	}
	return out
}

// equal compares what travels.
func equal(a, b any) bool {
	x, err := json.Marshal(a)
	y, more := json.Marshal(b)
	return err == nil && more == nil && bytes.Equal(x, y)
}

// Transports lists those of the edges, by their numbers.
func (p *Pipeline) Transports() []Transport {
	out := make([]Transport, len(p.Edges))
	for i, e := range p.Edges {
		out[i] = cmp.Or(e.Transport, Auto)
	}
	return out
}

// Slots lists all slots that a start fills, in the order of the stages.
func (p *Pipeline) Slots() []Slot {
	var out []Slot
	for _, s := range p.Stages {
		for i := range s.Replicas.Min {
			out = append(out, Slot{s.Name, i})
		}
	}
	return out
}

// SinksFirst lists the stages' names so that every stage comes after those it leads to.
func (p *Pipeline) SinksFirst() []string {
	out := make([]string, 0, len(p.Stages))
	for i := len(p.Stages) - 1; i >= 0; i-- {
		out = append(out, p.Stages[i].Name)
	}
	return out
}
