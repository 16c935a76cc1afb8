package frame

import "embed"

// Source has the files of this package that the Go SDK needs: users' functions are built offline.
//
//go:embed frame.go headers.go reader.go
var Source embed.FS
