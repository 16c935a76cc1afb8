package compile

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-stream/weft/actionproxy/unpack"
)

// interpreter names the program that runs a language.
type interpreter struct {
	what     string   // it runs
	variable string   // that names it
	name     string   // in the PATH
	install  string   // what to install
	ask      []string // arguments with which it prints its own path
}

// find is the program: the variable's, or that of the PATH. Where that is a script, as version managers
// install one, it is asked for the program behind it, which needs no PATH.
func (i interpreter) find(ctx context.Context, environ []string) (string, error) {
	file := lookup(environ, i.variable)
	if file == "" {
		var ok bool
		if file, ok = find(i.name, lookup(environ, "PATH")); !ok {
			return "", fmt.Errorf("start %s action: there is no %s; install %s, put it on PATH or name it in %s", i.what, i.name, i.install, i.variable)
		}
	}
	if program, err := filepath.EvalSymlinks(file); err == nil && unpack.ELF(program) {
		return file, nil
	}
	cmd := exec.CommandContext(ctx, file, i.ask...)
	cmd.Env = environ
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("start %s action: run %s: %w", i.what, file, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// askWait bounds how long an interpreter may take to say where it is.
const askWait = 10 * time.Second

// Interpreters are the variables that name the interpreters of an environment, for containers that would
// each have to look for them: where version managers put scripts, that takes longer than a start. One that
// is missing or does not answer is left out; its actions say why they can't start.
func Interpreters(ctx context.Context, environ []string) (variables []string) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	for _, i := range []interpreter{pythonProgram, nodeProgram} {
		if program, err := i.find(ctx, environ); err == nil {
			variables = append(variables, i.variable+"="+program)
		}
	}
	return variables
}
