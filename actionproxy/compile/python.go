package compile

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weft-stream/weft/sdk"
)

//go:embed launcher.py
var pythonLauncher []byte

var pythonProgram = interpreter{what: "Python", variable: "OW_PYTHON", name: "python3", install: "Python 3.9 or newer",
	ask: []string{"-c", "import sys; print(sys.executable)"}}

// buildPython puts the launcher and the SDK beside the user's modules. Errors in them are found when the
// process starts.
func buildPython(ctx context.Context, r Request) (Program, error) {
	python, err := pythonProgram.find(ctx, r.Env)
	if err != nil {
		return Program{}, err
	}
	lib := filepath.Join(r.Dir, "lib")
	if err := os.MkdirAll(lib, 0o755); err != nil {
		return Program{}, fmt.Errorf("make folder for the launcher: %w", err)
	}
	launcher := filepath.Join(lib, "launcher.py")
	if err := os.WriteFile(launcher, pythonLauncher, 0o644); err != nil {
		return Program{}, fmt.Errorf("write launcher: %w", err)
	}
	if err := sdk.WritePython(lib); err != nil {
		return Program{}, err
	}
	if err := linkCore(filepath.Join(lib, "weft")); err != nil {
		return Program{}, err
	}
	if err := r.place("main.py"); err != nil {
		return Program{}, err
	}
	main := r.Main
	if main == "" {
		main = "main"
	}
	return Program{Path: python, Args: []string{launcher, r.bin(), main}, Dir: r.bin(), Acks: true}, nil
}

// linkCore puts the native core beside the SDK, which looks whether it can use it, if it is beside this program.
func linkCore(folder string) error {
	self, err := os.Executable()
	if err != nil {
		return nil // then there is none
	}
	core := filepath.Join(filepath.Dir(self), "libweft.so")
	if !isFile(core) {
		return nil
	}
	if err := os.Symlink(core, filepath.Join(folder, filepath.Base(core))); err != nil {
		return fmt.Errorf("put the native core beside the SDK: %w", err)
	}
	return nil
}
