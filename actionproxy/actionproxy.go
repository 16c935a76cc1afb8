// Package actionproxy is the process in an action's container: it answers OpenWhisk's /init and /run as
// the stock Go proxy does, builds and runs the function process, and hands a /run that carries a lease
// to the worker.
//
// The way of a /run: Proxy reads the body → builtin, lease or ordinary → process.Exchange → result
// checked → output drained → sentinels on both streams → answer.
package actionproxy

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// Config is what New needs.
type Config struct {
	Listen    string             // address to listen on; default ":8080"
	ActionDir string             // where code is unpacked; default "action" in the working directory
	Env       Environment        // the proxy's own variables
	User      int                // user and group that functions run as, see process.User; 0: the proxy's
	Stdout    io.Writer          // log streams of activations; nothing else is ever written to them
	Stderr    io.Writer          //
	Leases    Leases             // nil: no hook is known, leases are refused
	Builtins  map[string]Builtin // by the NAME of code that is the one line weft:NAME
	Log       func(event string, kv ...any)
}

// Request is a /run.
type Request struct {
	Value         json.RawMessage // the parameters; a JSON object or array
	Namespace     string
	ActionName    string // "/namespace/package/action"
	ActionVersion string
	ActivationID  string
	TransactionID string
	APIKey        string    // empty unless the action asked for it
	Deadline      time.Time // when the platform ends the activation; zero when the body has none
	Raw           []byte    // the body as it came
}

// Reply answers a /run. A Status other than 200 makes the platform remove the container.
type Reply struct {
	Status int
	Body   []byte // a JSON object or array; a newline is added
}

// Leases is what holds this container for a pipeline: the worker.
type Leases interface {
	// Lease handles a /run whose value has "__weft". It blocks for the life of the lease; ctx ends
	// when the platform's connection does.
	Lease(ctx context.Context, req *Request, fn *Function) Reply
	// Holding is the pipeline that holds this container; "" for none. Then ordinary runs are refused.
	Holding() string
}

// Builtin is an action that is part of the proxy: no function process is started.
type Builtin interface {
	Run(ctx context.Context, req *Request) Reply
}
