package control

import (
	"encoding/json"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// The types of messages. Calls are answered; the others are one-way.
const (
	// Of whoever dials, first: Hello, answered by HelloReply.
	TypeHello = "hello"

	// Proxy to hook.
	TypeLease         = "lease"         // call: Lease → LeaseReply
	TypeReady         = "ready"         // SlotState: function initialised, outgoing links up
	TypeFailed        = "failed"        // SlotState with Reason: the worker can't go on
	TypeRestarted     = "restarted"     // SlotState with Reason: its function process was replaced
	TypePrepared      = "prepared"      // SlotState with Version: the next version is known here
	TypeBarrierAt     = "barrierAt"     // BarrierMark with Position: a source cut its stream
	TypeBarrierPassed = "barrierPassed" // BarrierMark: a sink has everything before it confirmed
	TypeEnded         = "ended"         // SlotState: a sink has all its events confirmed
	TypePulse         = "pulse"         // no body: the proxy runs; over TCP, every PulseEvery
	TypeStats         = "stats"         // Stats
	TypeLog           = "log"           // Log
	TypeStep          = "step"          // call: Step → StepReply, of the conductor action's components
	TypeRing          = "ring"          // call: Ring → RingReply with two descriptors, unless it says why not
	TypeArena         = "arena"         // call: Arena → ArenaReply with a descriptor, unless it says why not
	TypeEnter         = "enter"         // call: Enter → Way, of the container of an event's invocation

	// Hook to proxy.
	TypePeers     = "peers"     // Peers
	TypeRollback  = "rollback"  // Rollback
	TypeBarrier   = "barrier"   // Barrier: to sources
	TypeComplete  = "complete"  // Barrier: complete; to sources
	TypeRelease   = "release"   // Release: answer the open /run
	TypeTerminate = "terminate" // Terminate: stop the worker, answer the open /run
	TypeOffer     = "offer"     // Offer, with two descriptors: the other end of a ring
	TypeRoom      = "room"      // no body: a ring that was refused may be had now
	TypeAstray    = "astray"    // Astray: whoever a Way leads to is not there any more

	// Worker to hook, passed on to the attached client: Transfer.
	TypePull  = "pull"  // call: bytes of a source at Offset; answered with TransferReply and a blob
	TypeWrite = "write" // call with blob: bytes of a sink at Offset
	TypeDead  = "dead"  // call with blob: dead letters of a stage, ndjson
	TypeTrim  = "trim"  // hook to client: the source needs nothing before Offset any more

	// Client to hook: calls.
	TypeAttach = "attach" // Attach: this client has the pipeline's files
	TypeStatus = "status" // Query → Status
	TypeWhy    = "why"    // Query → Why
	TypeLogs   = "logs"   // Query → LogsReply; with After for what is new
	TypeStop   = "stop"   // Query → Status: drains nothing, stops in order
)

// Hello opens a connection.
type Hello struct {
	Version   int        `json:"version"`
	Role      string     `json:"role"`                // "proxy" or "client"
	Worker    string     `json:"worker,omitempty"`    // proxy: random id of this process
	Auth      string     `json:"auth,omitempty"`      // client: OpenWhisk key, uuid:key
	APIHost   string     `json:"apiHost,omitempty"`   // client: unused when the hook knows its own
	Inventory *Inventory `json:"inventory,omitempty"` // proxy: what it holds, after a reconnection
}

// Roles of whoever dials.
const (
	RoleProxy  = "proxy"
	RoleClient = "client"
)

// Inventory is what a worker holds when it comes back to a hook.
type Inventory struct {
	Namespace   string        `json:"namespace"`
	Pipeline    string        `json:"pipeline"`
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation"`
	Term        uint32        `json:"term"`
	Attempt     frame.Attempt `json:"attempt"`
	LeaseID     string        `json:"leaseId,omitempty"` // of the open /run; "" when released
	Ready       bool          `json:"ready"`
	Ended       bool          `json:"ended"`
	Addr        string        `json:"addr"`
}

// HelloReply accepts a connection, and brings a proxy on the Unix socket the file of its Pulse. Keep is false for an inventory the hook doesn't know: leave.
type HelloReply struct {
	Version int    `json:"version"`
	Hook    string `json:"hook"`
	Keep    bool   `json:"keep"`
	Reason  string `json:"reason,omitempty"`
}

// Lease asks what to do with a lease that has come in by /run.
type Lease struct {
	Token        Token      `json:"token"`
	Namespace    string     `json:"namespace"` // of the /run
	Action       string     `json:"action"`    // of the /run: /namespace/package/name
	Version      string     `json:"version"`   // of the action
	ActivationID string     `json:"activationId"`
	DeadlineMS   int64      `json:"deadlineMs"`        // epoch
	Holding      *Inventory `json:"holding,omitempty"` // the slot it holds already
	CSR          []byte     `json:"csr,omitempty"`     // DER, for a slot's certificate
	Addr         string     `json:"addr,omitempty"`    // UDP address of its mesh
}

// Verdict on a lease.
type Verdict string

// The verdicts.
const (
	Take     Verdict = "take"     // hold the slot in Assignment
	Renewed  Verdict = "renewed"  // this lease goes on where the last ended
	Released Verdict = "released" // there was no slot for it: answer the /run, another lease comes
	Leave    Verdict = "leave"    // answer 502: the platform removes this container
	Refused  Verdict = "refused"  // not a lease: answer an ordinary error
)

// LeaseReply is the verdict.
type LeaseReply struct {
	Verdict    Verdict     `json:"verdict"`
	Reason     string      `json:"reason,omitempty"`
	Assignment *Assignment `json:"assignment,omitempty"` // with Take
}

// Assignment is all a worker needs to hold its slot.
type Assignment struct {
	Namespace   string            `json:"namespace"`
	Pipeline    pipeline.Pipeline `json:"pipeline"`
	Slot        pipeline.Slot     `json:"slot"`
	Incarnation uint64            `json:"incarnation"`
	Term        uint32            `json:"term"`
	Attempt     frame.Attempt     `json:"attempt"`
	KeySeed     uint64            `json:"keySeed,string"`
	Cert        []byte            `json:"cert"` // DER, for the CSR's key
	CA          []byte            `json:"ca"`   // DER
	Holders
	Joins    bool     `json:"joins,omitempty"` // not one of Holders yet: it is in a version to come
	Next     *Holders `json:"next,omitempty"`
	Position int64    `json:"position"` // of a source: where to begin
}

// Peer is a slot's present holder.
type Peer struct {
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation"`
	Addr        string        `json:"addr"`
}

// Holders is a version of the assignment: how many slots the stages have, and who holds them.
type Holders struct {
	Version  uint64         `json:"version,omitempty"`
	Replicas map[string]int `json:"replicas,omitempty"` // of each stage; without it, the least that the spec says
	Peers    []Peer         `json:"peers"`
}

// Peers replaces what a worker knows of the others. Next, if there is one, becomes valid behind a barrier
// that carries its version: everybody says that it is prepared for that. Transports, by the edges' numbers, are
// what links are to go over from now on.
type Peers struct {
	Term uint32 `json:"term"`
	Holders
	Next       *Holders             `json:"next,omitempty"`
	Transports []pipeline.Transport `json:"transports,omitempty"`
}

// SlotState is a worker's word on itself.
type SlotState struct {
	Namespace   string        `json:"namespace"`
	Pipeline    string        `json:"pipeline"`
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation"`
	Attempt     frame.Attempt `json:"attempt"`
	Version     uint64        `json:"version,omitempty"` // with TypePrepared
	Reason      string        `json:"reason,omitempty"`
}

// BarrierMark says that a barrier has reached a worker.
type BarrierMark struct {
	SlotState
	Barrier  uint64 `json:"barrier"`
	Position int64  `json:"position,omitempty"` // of a source: the first position after the barrier
}

// Barrier orders a source to cut its stream, or says that a barrier is complete. With a version, that is
// valid behind it: a source that isn't in it stops there, and one that joins goes on from Position.
type Barrier struct {
	Term     uint32        `json:"term"`
	Attempt  frame.Attempt `json:"attempt"`
	Barrier  uint64        `json:"barrier"`
	Version  uint64        `json:"version,omitempty"`
	Pause    bool          `json:"pause,omitempty"` // nothing is sent behind it
	Position int64         `json:"position"`        // with TypeComplete, or for a source that joins
}

// Rollback begins a new attempt. A source goes on from Position.
type Rollback struct {
	Term     uint32        `json:"term"`
	Attempt  frame.Attempt `json:"attempt"`
	Position int64         `json:"position"`
}

// Release asks for the answer of the open /run; the worker goes on.
type Release struct {
	Term    uint32 `json:"term"`
	LeaseID string `json:"leaseId"`
}

// Terminate ends a worker. Error is empty after an orderly end. With Dismiss the platform is to remove
// the container, not to keep it for others.
type Terminate struct {
	Term    uint32 `json:"term"`
	Reason  string `json:"reason"`
	Error   string `json:"error,omitempty"`
	Dismiss bool   `json:"dismiss,omitempty"`
}

// Transfer names bytes that go between a worker and the attached client.
type Transfer struct {
	Namespace   string        `json:"namespace"`
	Pipeline    string        `json:"pipeline"`
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation"`
	Offset      int64         `json:"offset"` // bytes from the beginning of the source, or of this incarnation's output
	Max         int           `json:"max,omitempty"`
}

// TransferReply answers a pull. EOF with an empty blob: nothing follows Offset.
type TransferReply struct {
	EOF bool `json:"eof,omitempty"`
}

// Stats is a worker's counters since it took its slot, sent every second in which they change.
type Stats struct {
	SlotState
	In       uint64      `json:"in"`     // events received
	Out      uint64      `json:"out"`    // events sent, or written by a sink
	Failed   uint64      `json:"failed"` // events to the error edge or the dead letters
	Restarts int         `json:"restarts"`
	HopUS    []HopBucket `json:"hopUs,omitempty"` // how long events took from the sender's write to here
	Links    []Link      `json:"links,omitempty"`
	PID      int         `json:"pid,omitempty"`
	FuncPID  int         `json:"funcPid,omitempty"`
	Addr     string      `json:"addr,omitempty"`
	// Fused are the stages that share the worker with the slot's own, whose numbers are above.
	Fused []StageCounts `json:"fused,omitempty"`
}

// StageCounts are the counters of one stage in a worker that holds several.
type StageCounts struct {
	Stage  string `json:"stage"`
	In     uint64 `json:"in"`
	Out    uint64 `json:"out"`
	Failed uint64 `json:"failed"`
}

// HopBucket counts hops of at most UpTo microseconds.
type HopBucket struct {
	UpTo  int64  `json:"upTo"`
	Count uint64 `json:"count"`
}

// Link is one link's state as its sender sees it.
type Link struct {
	Edge   uint16        `json:"edge"`
	To     pipeline.Slot `json:"to"`
	Up     bool          `json:"up"`
	Events uint64        `json:"events"`
	Resent uint64        `json:"resent"`
	Bytes  uint64        `json:"bytes"`           // of the events, with headers; resent ones count once
	WaitUS int64         `json:"waitUs"`          // without credit
	RTTUS  int64         `json:"rttUs,omitempty"` // to the peer and back, over QUIC
	// Carrier is what the link goes over: "shm", or "quic" and perhaps a colon and why not shm. Reason is why
	// the link isn't up.
	Carrier string `json:"carrier,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Log is what a function printed, or a proxy's own words.
type Log struct {
	Namespace string        `json:"namespace"`
	Pipeline  string        `json:"pipeline"`
	Slot      pipeline.Slot `json:"slot"`
	Lines     []Printed     `json:"lines"`
}

// Printed is one line.
type Printed struct {
	Stream string `json:"stream"` // "stdout", "stderr" or "proxy"
	TimeMS int64  `json:"timeMs"`
	// Trace is the W3C traceparent of the event in work when the line came, or the event's id; "" when
	// none was.
	Trace string `json:"trace,omitempty"`
	Text  string `json:"text"`
}

// Step is one component of the conductor action's composition.
type Step struct {
	Step       string             `json:"step"` // "start", "await", "report", "stop", "status", "scale", "restart", "update"
	Namespace  string             `json:"namespace"`
	APIKey     string             `json:"apiKey,omitempty"` // with start; never logged
	Pipeline   *pipeline.Pipeline `json:"pipeline,omitempty"`
	Name       string             `json:"name"`
	Stage      string             `json:"stage,omitempty"`    // with await and restart; "" is every stage to restart
	Replicas   map[string]int     `json:"replicas,omitempty"` // with scale: of the stages that change
	WaitMS     int64              `json:"waitMs,omitempty"`
	NoHeadroom bool               `json:"noHeadroom,omitempty"`
}

// StepReply answers it. Result is what the component's activation returns.
type StepReply struct {
	Result json.RawMessage `json:"result"`
}

// Updated is the result of an update. Differs says what else the deployed spec has otherwise than the one that
// runs: then nothing of it was taken over, and it counts from the next start on.
type Updated struct {
	Running bool    `json:"running"`
	Links   []Moved `json:"links,omitempty"`
	Differs string  `json:"differs,omitempty"`
}

// Moved is an edge whose links go over to another transport.
type Moved struct {
	From      string             `json:"from"`
	To        string             `json:"to"`
	Transport pipeline.Transport `json:"transport"`
}

// Enter asks for the way into a pipeline for the events of an activation.
type Enter struct {
	Namespace    string `json:"namespace"` // of the /run
	Pipeline     string `json:"pipeline"`
	Action       string `json:"action"`       // of the /run: /namespace/[package/]name
	ActivationID string `json:"activationId"` // of the /run
	APIKey       string `json:"apiKey"`       // of the /run: what entitles it; never logged
	CSR          []byte `json:"csr"`          // DER, for the certificate
}

// Way leads to the worker of the pipeline's ingress.
type Way struct {
	Namespace   string `json:"namespace"`
	Pipeline    string `json:"pipeline"`
	Incarnation uint64 `json:"incarnation,string"` // of whoever asks, who is called pipeline.IngressName
	Cert        []byte `json:"cert"`               // DER, for the CSR's key; for one dial soon
	CA          []byte `json:"ca"`                 // DER
	Ingress     Peer   `json:"ingress"`
}

// Astray names a way that leads nowhere by the incarnation it was given for.
type Astray struct {
	Incarnation uint64 `json:"incarnation,string"`
}

// Attach says which of a pipeline's files the client has.
type Attach struct {
	Namespace string   `json:"namespace"`
	Pipeline  string   `json:"pipeline"`
	Sources   []string `json:"sources"`
	Sinks     []string `json:"sinks"`
}

// Query names a pipeline of the caller's namespace; "" means all of them.
type Query struct {
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	// Of logs: those after this number, of a stage or a slot, as it is written; WaitMS is for how long an
	// empty answer may be held back until there are some.
	After  uint64 `json:"after,omitempty"`
	Stage  string `json:"stage,omitempty"`
	Slot   string `json:"slot,omitempty"`
	WaitMS int64  `json:"waitMs,omitempty"`
}

// Phase of a pipeline.
type Phase string

// The phases.
const (
	Starting Phase = "starting"
	Running  Phase = "running"
	Stopping Phase = "stopping"
	// Suspended: stopped in order because the platform gives no leases; it goes on when it does.
	Suspended Phase = "suspended"
	Ended     Phase = "ended"
	Failed    Phase = "failed"
)

// Status of the pipelines asked for.
type Status struct {
	Pipelines []PipelineStatus `json:"pipelines"`
	Hook      HookStatus       `json:"hook"`
}

// HookStatus is the hook that answers.
type HookStatus struct {
	Name          string            `json:"name"`
	Invokers      int               `json:"invokers"`                // of which signs of life come
	SkippedKafka  uint64            `json:"skippedKafka,omitempty"`  // messages that are not of their topic
	Refused       map[string]uint64 `json:"refused,omitempty"`       // callers and leases, by reason
	KafkaSilentMS int64             `json:"kafkaSilentMs,omitempty"` // for how long Kafka hasn't answered
	RingMemory    int64             `json:"ringMemory"`              // bytes that links between workers of its host have
	RingLimit     int64             `json:"ringLimit"`               // and may have
}

// PipelineStatus is what weft status shows.
type PipelineStatus struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Phase     Phase         `json:"phase"`
	Error     string        `json:"reason,omitempty"` // of a failed or a suspended one; "error" would make an activation's result a failure
	Term      uint32        `json:"term"`
	Attempt   frame.Attempt `json:"attempt"`
	Barrier   uint64        `json:"barrier"` // last complete
	Restarts  int           `json:"restarts"`
	// RestartsBy counts them by their causes, see conductor.Causes.
	RestartsBy map[string]int `json:"restartsBy,omitempty"`
	Slots      []SlotStatus   `json:"slots"`
	HopP50US   int64          `json:"hopP50Us"`
	HopP99US   int64          `json:"hopP99Us"`
	Renewals   int            `json:"renewals"`
	Moves      int            `json:"moves"`             // slots that changed their container
	Version    uint64         `json:"version,omitempty"` // of the assignment
	// Replicas are the slots that stages have; Wanted those asked for, while they differ.
	Replicas map[string]int  `json:"replicas"`
	Wanted   map[string]int  `json:"wanted,omitempty"`
	Change   string          `json:"change,omitempty"`  // what is under way, in words
	GivenUp  string          `json:"givenUp,omitempty"` // why the last change has not come to be, unless another has
	Stalled  *Stall          `json:"stalled,omitempty"` // nothing can be decided
	StandBys []StandByStatus `json:"standBys,omitempty"`
	Unfused  []string        `json:"unfused,omitempty"` // which functions were to share a process and don't, and why
}

// Stall is why nothing can be decided on a pipeline: its record can't be written. Events flow until leases end; who has
// none any more waits, frozen if need be, with all it holds, and goes on when the record can be written.
type Stall struct {
	SinceMS  int64  `json:"sinceMs"`
	Reason   string `json:"reason"`
	LeasesMS int64  `json:"leasesMs,omitempty"` // when the first lease ends, or has ended; 0: there is none
}

// StandByStatus is one container that has a lease and no slot yet, or is to have.
type StandByStatus struct {
	Stage        string `json:"stage"`
	State        string `json:"state"`            // "ready", "renewing", "missing"
	Reason       string `json:"reason,omitempty"` // of one that is missing
	Action       string `json:"action,omitempty"` // version of the action that its container runs
	ActivationID string `json:"activationId,omitempty"`
	Invoker      string `json:"invoker,omitempty"`
	Addr         string `json:"addr,omitempty"`
}

// SlotStatus is one slot.
type SlotStatus struct {
	Slot         pipeline.Slot `json:"slot"`
	State        string        `json:"state"`            // "empty", "leased", "taken", "ready", "ended", "lost", "joining"
	Moving       bool          `json:"moving,omitempty"` // it will get another container
	Action       string        `json:"action,omitempty"` // version of the action that its container runs
	Incarnation  uint64        `json:"incarnation"`
	ActivationID string        `json:"activationId,omitempty"`
	Invoker      string        `json:"invoker,omitempty"` // that has the activation, when the hook has seen it go there
	Addr         string        `json:"addr,omitempty"`
	PID          int           `json:"pid,omitempty"`
	FuncPID      int           `json:"funcPid,omitempty"`
	In           uint64        `json:"in"`
	Out          uint64        `json:"out"`
	Failed       uint64        `json:"failed"`
	Links        []Link        `json:"links,omitempty"`
	Fused        []StageCounts `json:"fused,omitempty"` // stages that share the worker with Slot's
}

// Why lists what happened to a pipeline and for what reason, oldest first.
type Why struct {
	Entries []WhyEntry `json:"entries"`
}

// WhyEntry is one happening.
type WhyEntry struct {
	TimeMS   int64  `json:"timeMs"`
	Pipeline string `json:"pipeline"`
	Slot     string `json:"slot,omitempty"`
	What     string `json:"what"`   // "slot lost", "function restarted", "hook took over", "rollback", …
	Reason   string `json:"reason"` // in words
}

// LogsReply is a page of log lines.
type LogsReply struct {
	Last  uint64    `json:"last"`
	Lines []LogLine `json:"lines"`
	Lost  uint64    `json:"lost,omitempty"` // lines after the one asked for that the hook doesn't have any more
	Over  bool      `json:"over,omitempty"` // the pipeline has ended: nothing follows the last line
}

// LogLine is one line of a slot's.
type LogLine struct {
	Number uint64        `json:"number"`
	Slot   pipeline.Slot `json:"slot"`
	Printed
}
