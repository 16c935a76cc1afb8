// Package sdk has the libraries for functions, a folder for each language, and PROTOCOL.md, which
// they follow. The package itself gives the action proxy what it needs to run functions offline.
package sdk

import (
	"embed"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/flow"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
	weft "github.com/weft-stream/weft/sdk/go"
	"github.com/weft-stream/weft/sdk/python"
)

const (
	module  = "github.com/weft-stream/weft"
	version = "v0.0.0"
	// GoVersion is the least that the Go SDK is built with.
	GoVersion = "1.26"
	goMod     = "module function\n\ngo " + GoVersion + "\n\nrequire " + module + " " + version + "\n"
)

// rooms are the packages that a Go function is built of, which import nothing but each other and the standard
// library.
var rooms = map[string]embed.FS{
	"internal/processors":        processors.Source,
	"internal/shm":               shm.Source,
	"internal/wire":              wire.Source,
	"quicmesh":                   quicmesh.Source,
	"quicmesh/arena":             arena.Source,
	"quicmesh/barrier":           barrier.Source,
	"quicmesh/buf":               buf.Source,
	"quicmesh/direct":            direct.Source,
	"quicmesh/flow":              flow.Source,
	"quicmesh/frame":             frame.Source,
	"quicmesh/outlet":            outlet.Source,
	"quicmesh/replay":            replay.Source,
	"quicmesh/route":             route.Source,
	"quicmesh/transport":         transport.Source,
	"quicmesh/transport/shmring": shmring.Source,
	"sdk/go":                     weft.Source,
}

// WriteGo makes dir a Go module that builds offline with -mod=vendor: it writes vendor/ with the Go SDK,
// and go.mod. Both must be missing in dir, whose Go files are the function.
func WriteGo(dir string) error {
	vendor := filepath.Join(dir, "vendor")
	modules := "# " + module + " " + version + "\n## explicit; go " + GoVersion + "\n"
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		if err := writeFiles(filepath.Join(vendor, module, room), rooms[room], "."); err != nil {
			return err
		}
		modules += module + "/" + room + "\n"
	}
	if err := writeFile(filepath.Join(vendor, "modules.txt"), []byte(modules)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "go.mod"), []byte(goMod))
}

// WritePython writes the Python package weft into dir, beside a function's modules.
func WritePython(dir string) error {
	return writeFiles(filepath.Join(dir, "weft"), python.Source, "weft")
}

func writeFiles(to string, from embed.FS, folder string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("write SDK: %w", err)
	}
	entries, err := from.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("read embedded SDK: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "source.go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := from.ReadFile(path.Join(folder, e.Name()))
		if err != nil {
			return fmt.Errorf("read embedded SDK: %w", err)
		}
		if err := writeFile(filepath.Join(to, e.Name()), text); err != nil {
			return err
		}
	}
	return nil
}

// writeFile refuses to overwrite what the user has.
func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write SDK: %w", err)
	}
	if _, err = f.Write(text); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("write SDK: %w", err)
	}
	return nil
}
