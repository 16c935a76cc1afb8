package compile

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

//go:embed launcher.js
var nodeLauncher []byte

var nodeProgram = interpreter{what: "JavaScript", variable: "OW_NODE", name: "node", install: "Node.js 18 or newer (Debian: nodejs)",
	ask: []string{"-p", "process.execPath"}}

// buildNode puts the launcher beside the user's modules. Errors in them are found when the process starts.
func buildNode(ctx context.Context, r Request) (Program, error) {
	node, err := nodeProgram.find(ctx, r.Env)
	if err != nil {
		return Program{}, err
	}
	const single = "index.js"
	launcher := filepath.Join(r.Dir, "lib", "launcher.js")
	if err := os.MkdirAll(filepath.Dir(launcher), 0o755); err != nil {
		return Program{}, fmt.Errorf("make folder for the launcher: %w", err)
	}
	if err := os.WriteFile(launcher, nodeLauncher, 0o644); err != nil {
		return Program{}, fmt.Errorf("write launcher: %w", err)
	}
	from := r.bin()
	if isFile(filepath.Join(r.src(), "exec")) {
		from = filepath.Join(from, single)
	}
	if err := r.place(single); err != nil {
		return Program{}, err
	}
	main := r.Main
	if main == "" {
		main = "main"
	}
	var args []string
	if mb := memoryMB(r.Env); mb > 0 {
		args = append(args, "--max-old-space-size="+strconv.Itoa(mb*3/4))
	}
	return Program{Path: node, Args: append(args, launcher, from, main), Dir: r.bin(), Acks: true}, nil
}

// memoryMB is what the container may use, in MiB, where the platform says so; 0 where it leaves that to
// the system's own limits.
func memoryMB(environ []string) int {
	mb, _ := strconv.Atoi(lookup(environ, "OW_MEMORY_MB")) // 0 for what is no number
	return mb
}
