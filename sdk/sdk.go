// Package sdk has the libraries for functions, a folder for each language, and PROTOCOL.md, which
// they follow. The package itself gives the action proxy what it needs to run functions offline.
package sdk

import (
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/weft-stream/weft/quicmesh/frame"
	weft "github.com/weft-stream/weft/sdk/go"
	"github.com/weft-stream/weft/sdk/python"
)

const (
	module  = "github.com/weft-stream/weft"
	version = "v0.0.0"
	modules = "# " + module + " " + version + "\n## explicit; go 1.24\n" + module + "/quicmesh/frame\n" + module + "/sdk/go\n"
	goMod   = "module function\n\ngo 1.24\n\nrequire " + module + " " + version + "\n"
)

// WriteGo makes dir a Go module that builds offline with -mod=vendor: it writes vendor/ with the Go SDK,
// and go.mod. Both must be missing in dir, whose Go files are the function.
func WriteGo(dir string) error {
	vendor := filepath.Join(dir, "vendor")
	if err := writeFiles(filepath.Join(vendor, module, "sdk/go"), weft.Source, "."); err != nil {
		return err
	}
	if err := writeFiles(filepath.Join(vendor, module, "quicmesh/frame"), frame.Source, "."); err != nil {
		return err
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
