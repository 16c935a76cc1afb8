package quicmesh_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What the mesh decides with is pure: same input, same answer, no socket, goroutine or clock inside.
func TestRoomsArePure(t *testing.T) {
	const own = "github.com/weft-stream/weft/quicmesh/"
	allowed := map[string][]string{
		"frame":   nil,
		"buf":     {"syscall"}, // memory
		"flow":    {own + "frame"},
		"replay":  {own + "frame", own + "buf"},
		"barrier": {own + "frame"},
		"route":   {own + "frame"},
	}
	for room, imports := range allowed {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("no files in %s: %v", room, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				checkPure(t, file, imports)
			}
		}
	}
}

func checkPure(t *testing.T, name string, imports []string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		first, _, _ := strings.Cut(path, "/")
		outside := strings.Contains(first, ".") && !slices.Contains(imports, path)
		if err != nil || outside || first == "net" || first == "os" || first == "syscall" && !slices.Contains(imports, path) {
			t.Errorf("%v: imports %s", fset.Position(spec.Pos()), path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%v: starts a goroutine", fset.Position(n.Pos()))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name == "Now" {
				t.Errorf("%v: reads the clock", fset.Position(n.Pos()))
			}
		}
		return true
	})
}
