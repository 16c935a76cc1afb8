// Package shm is memory that processes share: memory files that nobody can shrink or grow, mapped only
// after they were checked; descriptors sent over Unix sockets. Nothing else of ours maps memory.
//
// What is mapped is the other process's to change at any moment. Whoever reads it copies first and
// checks the copy.
package shm

import "errors"

// Errors, wrapped.
var (
	// ErrFile: the descriptor is not a sealed memory file of the size that was announced. Mapping it
	// could kill this process later.
	ErrFile = errors.New("shm: not a sealed memory file of that size")
	// ErrFiles: descriptors came, or did not come, against the rules.
	ErrFiles = errors.New("shm: descriptors against the rules")
)
