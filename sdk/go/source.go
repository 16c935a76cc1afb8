package weft

import "embed"

// Source has this package's files without this one, so that the action proxy can build users'
// functions offline. They import quicmesh/frame, whose Source is there, too.
//
//go:embed weft.go fuse.go handler.go run.go stream.go text.go
var Source embed.FS
