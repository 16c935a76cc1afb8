package compile

import (
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-stream/weft/sdk"
)

//go:embed launcher.go.txt
var goLauncher string

const (
	goMainFile     = "main.go" // the name errors give to an action that is one file
	goLauncherFile = "weft_launcher.go"
)

// prepareGo makes src a complete package main.
func prepareGo(src, entry string) error {
	single := filepath.Join(src, "exec")
	if _, err := os.Stat(single); err == nil {
		if err := os.Rename(single, filepath.Join(src, goMainFile)); err != nil {
			return fmt.Errorf("put the action in place: %w", err)
		}
	}
	if entry == "" {
		entry = "main"
	}
	entry = strings.ToUpper(entry[:1]) + entry[1:]
	names, err := mainPackage(src)
	if err != nil {
		return err
	}
	if names["main"] {
		return nil
	}
	if !names[entry] {
		return fmt.Errorf("%s has neither func main nor func %s(map[string]any) map[string]any", goMainFile, entry)
	}
	text := strings.ReplaceAll(goLauncher, "ENTRY", entry)
	if err := os.WriteFile(filepath.Join(src, goLauncherFile), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write launcher: %w", err)
	}
	return nil
}

// mainPackage is the functions of the package in src, which must be main. A file that can't be parsed is
// left to the compiler, whose words are better.
func mainPackage(src string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(src, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, errors.New("the action has no Go file at its top")
	}
	names := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			names["main"] = true
			return names, nil
		}
		if f.Name.Name != "main" {
			return nil, fmt.Errorf("%s is package %s; an action is package main", filepath.Base(file), f.Name.Name)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names, nil
}

// offlineModule makes src a module that builds without a network, with the SDK at hand. It returns the
// -mod to build with.
func offlineModule(r Request) (string, error) {
	mod := filepath.Join(r.src(), "go.mod")
	text, err := os.ReadFile(mod)
	if errors.Is(err, fs.ErrNotExist) {
		return "vendor", sdk.WriteGo(r.src())
	}
	if err != nil {
		return "", fmt.Errorf("read the action's go.mod: %w", err)
	}
	if _, err := os.Stat(filepath.Join(r.src(), "vendor")); err == nil {
		return "vendor", nil
	}
	const module = "github.com/weft-stream/weft"
	if strings.Contains(string(text), module+" =>") {
		return "mod", nil
	}
	lib := filepath.Join(r.Dir, "sdk")
	if err := sdk.WriteGo(lib); err != nil {
		return "", err
	}
	lib = filepath.Join(lib, "vendor", module)
	if err := os.WriteFile(filepath.Join(lib, "go.mod"), []byte("module "+module+"\n\ngo "+sdk.GoVersion+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("write SDK: %w", err)
	}
	more := "\nreplace " + module + " => " + lib + "\n"
	if !strings.Contains(string(text), module+" ") {
		more = "\nrequire " + module + " v0.0.0\n" + more
	}
	if err := os.WriteFile(mod, append(text, more...), 0o644); err != nil {
		return "", fmt.Errorf("write the action's go.mod: %w", err)
	}
	return "mod", nil
}
