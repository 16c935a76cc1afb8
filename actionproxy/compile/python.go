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
	if err := r.place("main.py"); err != nil {
		return Program{}, err
	}
	main := r.Main
	if main == "" {
		main = "main"
	}
	return Program{Path: python, Args: []string{launcher, r.bin(), main}, Dir: r.bin(), Acks: true}, nil
}
