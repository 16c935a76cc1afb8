// Package python carries the Python SDK's source, so that the action proxy can put it beside a
// user's function.
package python

import "embed"

// Source has the package weft: the files weft/*.py.
//
//go:embed weft/*.py
var Source embed.FS
