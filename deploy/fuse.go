package deploy

import (
	"archive/zip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// Apart says why the code of f can't be built together with other stages'; "" if it can. dir is that of the
// spec. What can't be read is no reason: the deployment says so.
func Apart(dir string, f *pipeline.Function) string {
	name := sourcePath(dir, f)
	info, err := os.Stat(name)
	if err != nil {
		return ""
	}
	switch f.Kind {
	case "go:1.26":
		if !info.IsDir() && path.Ext(name) != ".go" {
			return "is not Go source but a program or an archive: what is built already can't be built into another"
		}
		return goApart(name, info.IsDir())
	case "python:3":
		if info.IsDir() || path.Ext(name) != ".py" {
			return "is more than one file of Python: two stages' modules could have the same name"
		}
		return pythonApart(name)
	}
	return "is of kind " + f.Kind + ", which runs one function a process"
}

// goApart looks at the files of a package main.
func goApart(name string, folder bool) string {
	files := []string{name}
	if folder {
		for _, own := range []string{"go.mod", "exec"} {
			if _, err := os.Stat(filepath.Join(name, own)); err == nil {
				return "has its own " + own
			}
		}
		files, _ = filepath.Glob(filepath.Join(name, "*.go"))
	}
	main := false
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return "" // the compiler says it better
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			main = main || ok && fn.Recv == nil && fn.Name.Name == "main"
		}
	}
	if !main {
		return "has no func main: it isn't one of Weft's SDK"
	}
	return ""
}

var asyncPython = regexp.MustCompile(`(?m)^\s*async\s+def\b`)

func pythonApart(name string) string {
	b, err := readCode(name)
	if err == nil && asyncPython.Match(b) {
		return "is async: it works on many events at a time"
	}
	return ""
}

// fused is the action of a fused group: its code has that of each stage in a folder of its own, and each
// stage's parameters are one.
func (d *Deployer) fused(a openwhisk.Action, s *pipeline.Stage) (openwhisk.Action, error) {
	parts := s.FusedParts()
	list, err := json.Marshal(parts)
	if err != nil {
		return a, fmt.Errorf("list the stages: %w", err)
	}
	b, err := zipped(func(z *zip.Writer) error {
		err := addBytes(z, pipeline.FusedCode, 0o644, list)
		for i, part := range parts {
			if err == nil {
				err = addSource(z, sourcePath(d.Dir, s.Fused[i].Function), part.Dir)
			}
		}
		return err
	})
	if err != nil {
		return a, fmt.Errorf("read the code of %s: %w", strings.Join(fusedNames(s), ", "), err)
	}
	a.Exec = openwhisk.CodeExec(s.Function.Kind, base64.StdEncoding.EncodeToString(b), true)
	a.Parameters = parameters(nil, s.Function)
	for _, f := range s.Fused {
		if len(f.Function.Parameters) > 0 {
			a.Parameters = a.Parameters.With(openwhisk.KV(pipeline.FusedParameters(f.Name), f.Function.Parameters))
		}
	}
	return a, nil
}

// addSource adds a file, or a folder's files, in the folder to of the zip.
func addSource(z *zip.Writer, name, to string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return addFolder(z, os.DirFS(name), to)
	}
	return addFile(z, os.DirFS(filepath.Dir(name)), filepath.Base(name), to)
}

func fusedNames(s *pipeline.Stage) (out []string) {
	for _, f := range s.Fused {
		out = append(out, f.Name)
	}
	return out
}
