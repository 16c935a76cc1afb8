package openwhisk

import "encoding/json"

// KindSequence and KindBlackbox are the kinds that no runtime stands behind.
const (
	KindSequence = "sequence"
	KindBlackbox = "blackbox"
)

// Annotations with a meaning to the platform.
const (
	AnnotationConductor     = "conductor"
	AnnotationProvideAPIKey = "provide-api-key"
	AnnotationExec          = "exec"
	AnnotationFinal         = "final"
)

// Action is an action as PUT and GET exchange it. Pointers and nil mean "not
// given": on an update the platform keeps what it has.
type Action struct {
	Namespace      string    `json:"namespace,omitempty"` // "guest" or "guest/pkg"
	Name           string    `json:"name,omitempty"`
	Version        string    `json:"version,omitempty"` // semantic version, bumped by every update
	Publish        bool      `json:"publish"`
	Exec           *Exec     `json:"exec,omitempty"`
	Annotations    KeyValues `json:"annotations,omitempty"`
	Parameters     KeyValues `json:"parameters,omitempty"`
	Limits         *Limits   `json:"limits,omitempty"`
	Updated        int64     `json:"updated,omitempty"` // epoch ms
	DelAnnotations []string  `json:"delAnnotations,omitempty"`
}

// Exec says what an action runs.
type Exec struct {
	Kind       string   `json:"kind,omitempty"` // a runtime's kind, "sequence" or "blackbox"
	Code       *string  `json:"code,omitempty"` // source, or base64 if Binary
	Binary     *bool    `json:"binary,omitempty"`
	Main       string   `json:"main,omitempty"`       // entry point, "main" if empty
	Image      string   `json:"image,omitempty"`      // blackbox only
	Components []string `json:"components,omitempty"` // sequence only: fully qualified names
}

// Limits are an action's resource limits; nil means "not given".
type Limits struct {
	Timeout     *int `json:"timeout,omitempty"`     // ms, for /init and /run each
	Memory      *int `json:"memory,omitempty"`      // MB
	Logs        *int `json:"logs,omitempty"`        // MB; 0 means no log collection
	Concurrency *int `json:"concurrency,omitempty"` // runs at once in one container
	Instances   *int `json:"instances,omitempty"`   // containers at once, scheduler only
}

// CodeExec makes the Exec of a runtime's kind with code; binary says that
// code is base64.
func CodeExec(kind, code string, binary bool) *Exec {
	return &Exec{Kind: kind, Code: &code, Binary: &binary}
}

// SequenceExec makes the Exec of a sequence of fully qualified names.
func SequenceExec(components ...string) *Exec {
	return &Exec{Kind: KindSequence, Components: components}
}

// NewLimits makes limits of timeout (ms), memory (MB) and logs (MB).
func NewLimits(timeoutMillis, memoryMB, logsMB int) *Limits {
	return &Limits{Timeout: &timeoutMillis, Memory: &memoryMB, Logs: &logsMB}
}

// Package is a package; on GET it also lists the actions in it.
type Package struct {
	Namespace   string          `json:"namespace,omitempty"`
	Name        string          `json:"name,omitempty"`
	Version     string          `json:"version,omitempty"`
	Publish     bool            `json:"publish"`
	Annotations KeyValues       `json:"annotations,omitempty"`
	Parameters  KeyValues       `json:"parameters,omitempty"`
	Binding     json.RawMessage `json:"binding,omitempty"` // {} or {"namespace":…,"name":…}
	Updated     int64           `json:"updated,omitempty"` // epoch ms
	Actions     []PackageAction `json:"actions,omitempty"`
}

// PackageAction is the short form of an action within a package.
type PackageAction struct {
	Annotations KeyValues `json:"annotations"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
}

// NamespaceLimits are the effective limits of a namespace, as GET limits
// answers them. Sizes are in MB, times in ms.
type NamespaceLimits struct {
	ConcurrentInvocations int    `json:"concurrentInvocations"`
	FiresPerMinute        int    `json:"firesPerMinute"`
	InvocationsPerMinute  int    `json:"invocationsPerMinute"`
	MaxActionConcurrency  int    `json:"maxActionConcurrency"`
	MaxActionInstances    int    `json:"maxActionInstances"`
	MaxActionLogs         int    `json:"maxActionLogs"`
	MaxActionMemory       int    `json:"maxActionMemory"`
	MaxActionTimeout      int    `json:"maxActionTimeout"`
	MaxParameterSize      string `json:"maxParameterSize"` // "1048576 B"
	MinActionConcurrency  int    `json:"minActionConcurrency"`
	MinActionLogs         int    `json:"minActionLogs"`
	MinActionMemory       int    `json:"minActionMemory"`
	MinActionTimeout      int    `json:"minActionTimeout"`
}
