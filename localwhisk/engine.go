package localwhisk

import (
	"net"

	"github.com/rs/zerolog"
)

// engine starts containers: as processes of this machine, or with Docker.
type engine interface {
	// open readies it and removes what a platform that died has left behind.
	open() error
	// prefix is what its containers' names begin with.
	prefix() string
	// apiHost is the platform's URL as its containers reach it.
	apiHost() string
	// start starts a container. It is not known to listen yet.
	start(o order) (box, error)
	// serve answers containers' calls of the API where the platform's own
	// listener can't be reached.
	serve(accept func(net.Listener) error)
	// close is called once no container is left.
	close()
}

// order says what to start.
type order struct {
	name    string // "wsk00_7_guest_hello"
	runtime Runtime
	memory  int // MB
	logsOff bool
	log     zerolog.Logger
}

// box is a started container. Whoever holds the container calls its methods,
// one at a time; remove is the last.
type box interface {
	ip() string
	pid() int                // of the first process, as this machine counts
	exited() <-chan struct{} // closed once that has ended
	output() logSource
	// exhausted tells whether it has ended for want of memory, or is about to.
	// It is asked after a call that has broken.
	exhausted() bool
	pause() error
	resume() error
	// remove kills it without notice, also while it is paused, and gives back
	// what it had.
	remove()
}
