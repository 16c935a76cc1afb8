package localwhisk

import (
	"fmt"

	"github.com/weft-stream/weft/openwhisk"
)

// Limits are the platform's limits. Times are in ms, sizes in MB.
type Limits struct {
	InvocationsPerMinute  int // by clock minute
	ConcurrentInvocations int
	FiresPerMinute        int // of triggers
	MinTimeout            int
	MaxTimeout            int
	StdTimeout            int // of an action that asks for nothing, as all Std
	MinMemory             int
	MaxMemory             int
	StdMemory             int
	MinLogs               int
	MaxLogs               int
	StdLogs               int
	MaxConcurrency        int // runs at once in one container; more than 1 is not supported
	SequenceLength        int // components of a sequence; also bounds compositions
	PayloadBytes          int // of a call's parameters and of a result
	ParameterBytes        int // of an entity's parameters, and of its annotations
	CodeBytes             int // of an action, as it is sent
}

// DefaultLimits are generous where the stock ones only protect a shared
// platform: calls per minute and at once.
func DefaultLimits() Limits {
	l := StockLimits()
	l.InvocationsPerMinute, l.ConcurrentInvocations, l.FiresPerMinute = 600000, 1000, 60000
	return l
}

// StockLimits are those of an OpenWhisk as it comes.
func StockLimits() Limits {
	return Limits{
		InvocationsPerMinute: 60, ConcurrentInvocations: 30, FiresPerMinute: 60,
		MinTimeout: 100, MaxTimeout: 300000, StdTimeout: 60000,
		MinMemory: 128, MaxMemory: 512, StdMemory: 256,
		MaxLogs: 10, StdLogs: 10, MaxConcurrency: 1, SequenceLength: 50, PayloadBytes: 1 << 20,
		ParameterBytes: 1 << 20, CodeBytes: 48 << 20,
	}
}

// validate reports limits that leave nothing between them.
func (l Limits) validate() error {
	for _, b := range []struct {
		what          string
		min, std, max int
	}{
		{"time", l.MinTimeout, l.StdTimeout, l.MaxTimeout}, {"memory", l.MinMemory, l.StdMemory, l.MaxMemory}, {"log", l.MinLogs, l.StdLogs, l.MaxLogs},
	} {
		if b.min > b.std || b.std > b.max {
			return fmt.Errorf("the %s limit's standard of %d is not between its least, %d, and its greatest, %d", b.what, b.std, b.min, b.max)
		}
	}
	return nil
}

// actionLimits are an action's limits with nothing left out.
type actionLimits struct {
	Concurrency int `json:"concurrency"`
	Logs        int `json:"logs"`
	Memory      int `json:"memory"`
	Timeout     int `json:"timeout"`
}

// standard are the limits of an action that asks for nothing.
func (l Limits) standard() actionLimits {
	return actionLimits{Concurrency: 1, Logs: l.StdLogs, Memory: l.StdMemory, Timeout: l.StdTimeout}
}

// with returns the limits with what in names set. The error has the
// platform's text.
func (l actionLimits) with(in *openwhisk.Limits, b Limits) (actionLimits, error) {
	if in == nil {
		return l, nil
	}
	set := func(to, from *int) {
		if from != nil {
			*to = *from
		}
	}
	set(&l.Timeout, in.Timeout)
	set(&l.Memory, in.Memory)
	set(&l.Logs, in.Logs)
	set(&l.Concurrency, in.Concurrency)
	for _, c := range []struct {
		what          string
		unit          string
		got, min, max int
	}{
		{"duration", " milliseconds", l.Timeout, b.MinTimeout, b.MaxTimeout},
		{"memory size", " MB", l.Memory, b.MinMemory, b.MaxMemory},
		{"log size", " MB", l.Logs, b.MinLogs, b.MaxLogs},
		{"concurrency", "", l.Concurrency, 1, b.MaxConcurrency},
	} {
		if c.got > c.max {
			return l, fmt.Errorf("requirement failed: %s %d%s exceeds allowed threshold of %d%s", c.what, c.got, c.unit, c.max, c.unit)
		}
		if c.got < c.min {
			return l, fmt.Errorf("requirement failed: %s %d%s below allowed threshold of %d%s", c.what, c.got, c.unit, c.min, c.unit)
		}
	}
	return l, nil
}

// namespaceLimits is the answer to GET limits.
func (l Limits) namespaceLimits() openwhisk.NamespaceLimits {
	return openwhisk.NamespaceLimits{
		ConcurrentInvocations: l.ConcurrentInvocations, FiresPerMinute: l.FiresPerMinute,
		InvocationsPerMinute: l.InvocationsPerMinute, MaxActionConcurrency: l.MaxConcurrency,
		MaxActionInstances: l.ConcurrentInvocations, MaxActionLogs: l.MaxLogs, MaxActionMemory: l.MaxMemory,
		MaxActionTimeout: l.MaxTimeout, MaxParameterSize: fmt.Sprintf("%d B", l.ParameterBytes),
		MinActionConcurrency: 1, MinActionLogs: l.MinLogs, MinActionMemory: l.MinMemory, MinActionTimeout: l.MinTimeout,
	}
}

// rootLimits are the limits in the answer to GET /.
func (l Limits) rootLimits() map[string]int {
	const mb = 1 << 20
	return map[string]int{
		"actions_per_minute": l.InvocationsPerMinute, "concurrent_actions": l.ConcurrentInvocations,
		"default_max_action_duration": l.MaxTimeout, "default_max_action_logs": l.MaxLogs * mb,
		"default_max_action_memory": l.MaxMemory * mb, "default_min_action_duration": l.MinTimeout,
		"default_min_action_logs": l.MinLogs * mb, "default_min_action_memory": l.MinMemory * mb,
		"max_action_duration": l.MaxTimeout, "max_action_logs": l.MaxLogs * mb, "max_action_memory": l.MaxMemory * mb,
		"min_action_duration": l.MinTimeout, "min_action_logs": l.MinLogs * mb, "min_action_memory": l.MinMemory * mb,
		"sequence_length": l.SequenceLength, "triggers_per_minute": l.FiresPerMinute,
	}
}
