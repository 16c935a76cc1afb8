// Package compile makes a runnable program of an action's unpacked code: as it is, with a compiler of
// the image, or with the proxy's own for Go, Python,
// JavaScript and Java.
package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weft-stream/weft/actionproxy/unpack"
)

// The compilers that are part of the proxy, as OW_COMPILER names them.
const (
	Go     = "weft:go"
	Python = "weft:python"
	Node   = "weft:node"
	Java   = "weft:java"
)

// Request says what to build.
type Request struct {
	Compiler string   // Go, Python, Node, Java, the path of a program called with <main> <source folder> <binary folder>, or ""
	Dir      string   // the action's folder, absolute: the code is in src; bin is made
	Main     string   // the action's main function; "" for the language's usual one
	Env      []string // "K=V": what compilers see: PATH, HOME, …
	Function []string // "K=V": what the function will see; compilers of the image see it as well
}

// Program is what to start.
type Program struct {
	Path string
	Args []string
	Dir  string // working directory; "" for the proxy's
	Acks bool   // it was built here: it says when it is ready
}

// Build makes the program. Its error has the compiler's own words, for the user.
func Build(ctx context.Context, r Request) (Program, error) {
	if unpack.Executable(filepath.Join(r.src(), "exec")) || r.Compiler == "" {
		return r.asItIs()
	}
	switch r.Compiler {
	case Go:
		return buildGo(ctx, r)
	case Python:
		return buildPython(ctx, r)
	case Node:
		return buildNode(ctx, r)
	case Java:
		return buildJava(ctx, r)
	}
	return r.external(ctx)
}

func (r Request) src() string { return filepath.Join(r.Dir, "src") }
func (r Request) bin() string { return filepath.Join(r.Dir, "bin") }

func (r Request) asItIs() (Program, error) {
	if err := os.Rename(r.src(), r.bin()); err != nil {
		return Program{}, fmt.Errorf("put the action in place: %w", err)
	}
	return r.executable()
}

// executable is bin/exec.
func (r Request) executable() (Program, error) {
	path := filepath.Join(r.bin(), "exec")
	if err := os.Chmod(path, 0o755); err != nil {
		return Program{}, errors.New("the action has no file named exec")
	}
	return Program{Path: path}, nil
}

// external runs a compiler of the image, the stock way: whatever it prints is an error.
func (r Request) external(ctx context.Context) (Program, error) {
	if err := os.MkdirAll(r.bin(), 0o755); err != nil {
		return Program{}, fmt.Errorf("make folder for the binary: %w", err)
	}
	main := r.Main
	if main == "" {
		main = "main"
	}
	cmd := exec.CommandContext(ctx, r.Compiler, main, r.src(), r.bin())
	cmd.Env = append(r.Function[:len(r.Function):len(r.Function)], "PATH="+lookup(r.Env, "PATH"))
	out, err := cmd.CombinedOutput()
	switch {
	case len(out) > 0:
		return Program{}, errors.New(strings.TrimSpace(string(out)))
	case err != nil:
		return Program{}, fmt.Errorf("compiler %s: %w", r.Compiler, err)
	}
	return r.executable()
}

// place moves the code to where it runs; an action that is one file is given its name.
func (r Request) place(single string) error {
	err := os.Rename(r.src(), r.bin())
	if exec := filepath.Join(r.bin(), "exec"); err == nil && isFile(exec) {
		err = os.Rename(exec, filepath.Join(r.bin(), single))
	}
	if err != nil {
		return fmt.Errorf("put the action in place: %w", err)
	}
	return nil
}

func isFile(name string) bool {
	s, err := os.Stat(name)
	return err == nil && s.Mode().IsRegular()
}

// lookup is the value of a variable in an environment; "" when it isn't there.
func lookup(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(environ[i], "="); k == name {
			return v
		}
	}
	return ""
}
