package conductor

import (
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Event is something that happened; the owner gives each to Brain.Step with the time.
type Event interface{ event() }

// The events.
type (
	// Tick lets time pass; the owner sends one when Brain.Wait is over.
	Tick struct{}
	// Begin starts the pipeline: all leases are wanted.
	Begin struct{}
	// Stop ends it in order.
	Stop struct{ Reason string }
	// Scale asks for other numbers of slots: those of the stages named. CheckScale says first whether
	// that can be; what can't is passed over.
	Scale struct{ Replicas map[string]int }
	// Restart asks for another container for each slot of a stage, "" for all, one slot at a time.
	// CheckRestart says first whether that can be.
	Restart struct{ Stage string }
	// Update takes over what another spec of the pipeline says of its edges' transports, if nothing else differs.
	Update struct{ Pipeline pipeline.Pipeline }
	// LeaseFired says that the platform took the invocation of a lease.
	LeaseFired struct{ LeaseID, ActivationID string }
	// LeaseRefused says that it didn't. Retry is true for 429, 503 and network errors; Full when the namespace has as
	// many activations under way as it may have.
	LeaseRefused struct {
		LeaseID, Reason string
		Retry, Full     bool
	}
	// LeaseCompleted says that the activation has ended, by Kafka's completed*. Reason is its error, if any.
	LeaseCompleted struct {
		ActivationID string
		Failed       bool
		Reason       string
	}
	// Platform answers Ask: Reason is why the platform gives no answer that leases could be had after;
	// "" when it does.
	Platform struct{ Reason string }
	// Stranded says that the invoker that has these activations gives no sign of life.
	Stranded struct {
		Activations []string
		Reason      string
	}
	// Arrived is a verified lease at a proxy, which may hold a slot already. It is answered with exactly one
	// Decide command: by the same Step, or when it is to stand by, by a later one.
	Arrived struct {
		LeaseID, Stage, ActivationID, Worker, Addr string
		Version                                    string // of the action; "" is unknown
		DeadlineMS                                 int64
		Holding                                    *control.Inventory
	}
	// Returned is a proxy with an inventory, after its connection or the hook was lost. Step answers
	// with exactly one DecideReturn command.
	Returned struct {
		Worker    string
		Inventory control.Inventory
	}
	// Ready and those after it are a worker's words on its slot.
	Ready  struct{ Slot Holder }
	Failed struct {
		Slot   Holder
		Reason string
	}
	Restarted struct {
		Slot   Holder
		Reason string
	}
	Ended struct {
		Slot    Holder
		Attempt frame.Attempt
	}
	// Prepared says that a worker knows the next version of the assignment.
	Prepared struct {
		Slot    Holder
		Version uint64
	}
	// Gone says that a worker's process is dead, or its connection has been away too long.
	Gone struct{ Worker, Cause, Reason string }
	// Frozen says, once a second while it lasts, that a worker's proxy lives and does not run.
	Frozen struct{ Worker, Reason string }
	// Remark is what is known of a happening only later: why a container has ended. It changes nothing.
	Remark struct{ Subject, What, Reason string }
	// BarrierAt and BarrierPassed: a source has cut its stream; a sink has confirmed all before it.
	BarrierAt struct {
		Slot     Holder
		Attempt  frame.Attempt
		Barrier  uint64
		Position int64
	}
	BarrierPassed struct {
		Slot    Holder
		Attempt frame.Attempt
		Barrier uint64
	}
)

// Holder is a slot and the incarnation that speaks for it; a past one's words are ignored.
type Holder struct {
	Slot        pipeline.Slot
	Incarnation uint64
}

func (Tick) event()           {}
func (Begin) event()          {}
func (Stop) event()           {}
func (Scale) event()          {}
func (Restart) event()        {}
func (Update) event()         {}
func (Prepared) event()       {}
func (LeaseFired) event()     {}
func (LeaseRefused) event()   {}
func (LeaseCompleted) event() {}
func (Platform) event()       {}
func (Stranded) event()       {}
func (Arrived) event()        {}
func (Returned) event()       {}
func (Ready) event()          {}
func (Failed) event()         {}
func (Restarted) event()      {}
func (Ended) event()          {}
func (Gone) event()           {}
func (Frozen) event()         {}
func (Remark) event()         {}
func (BarrierAt) event()      {}
func (BarrierPassed) event()  {}

// Command is something the owner does after it has written the snapshot the same Step made.
type Command interface{ command() }

// The commands.
type (
	// FireLease invokes the stage's action, non-blocking, with a token of this id.
	FireLease struct{ LeaseID, Stage string }
	// Ask asks the platform for anything, to see whether it answers; Platform is the answer, sooner or later.
	Ask struct{}
	// Decide answers Arrived.
	Decide struct {
		LeaseID, Worker string
		Verdict         control.Verdict
		Reason          string
		Slot            pipeline.Slot // with Take and Renewed
		Incarnation     uint64
		Attempt         frame.Attempt
		Position        int64
		Joins           bool // it holds the slot from a version to come on
	}
	// DecideReturn answers Returned.
	DecideReturn struct {
		Worker string
		Keep   bool
		Reason string
	}
	// ToWorker sends one of control's messages (Peers, Rollback, Barrier, Release, Terminate).
	ToWorker struct {
		Worker, Type string
		Body         any
	}
	// Trim tells the client that has the source's file that nothing before Position is needed.
	Trim struct {
		Stage    string
		Position int64
	}
	// Note is an entry of weft why.
	Note struct{ Entry control.WhyEntry }
	// Finished says that the pipeline has ended, and how: Error is "" after an orderly end.
	Finished struct{ Error string }
)

func (FireLease) command()    {}
func (Ask) command()          {}
func (Decide) command()       {}
func (DecideReturn) command() {}
func (ToWorker) command()     {}
func (Trim) command()         {}
func (Note) command()         {}
func (Finished) command()     {}
