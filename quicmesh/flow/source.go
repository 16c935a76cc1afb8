package flow

import "embed"

// Source has this package's files for the Go SDK: users' functions are built offline, from sources that the
// action proxy brings along. sdk.WriteGo leaves tests and this file out.
//
//go:embed *.go
var Source embed.FS
