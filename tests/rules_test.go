package tests

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weft-stream/weft/"

// may lists, for each room, the rooms of ours that it imports; a folder stands for what is below it.
// docs/architecture.md says why.
var may = map[string][]string{
	"pipeline":                         {},
	"openwhisk":                        {},
	"quicmesh/frame":                   {},
	"quicmesh/buf":                     {},
	"quicmesh/arena":                   {"internal/shm"},
	"quicmesh/flow":                    {"quicmesh/frame"},
	"quicmesh/replay":                  {"quicmesh/frame", "quicmesh/buf"},
	"quicmesh/barrier":                 {"quicmesh/frame"},
	"quicmesh/route":                   {"quicmesh/frame"},
	"quicmesh/transport":               {"quicmesh/frame", "quicmesh/buf"},
	"quicmesh/identity":                {"quicmesh/transport"},
	"quicmesh/transport/memnet":        {"quicmesh/transport"},
	"quicmesh/transport/quicnet":       {"quicmesh/transport", "quicmesh/identity"},
	"quicmesh/transport/shmring":       {"quicmesh/transport", "internal/shm"},
	"quicmesh/transport/transporttest": {"quicmesh/transport"},
	"quicmesh/direct":                  {"quicmesh", "internal/processors", "internal/shm", "internal/wire"},
	"internal/processors":              {},
	"quicmesh/outlet":                  {"quicmesh", "quicmesh/frame"},
	"quicmesh":                         {"quicmesh/frame", "quicmesh/buf", "quicmesh/flow", "quicmesh/replay", "quicmesh/barrier", "quicmesh/route", "quicmesh/transport", "quicmesh/arena"},
	"internal/control":                 {"pipeline", "quicmesh/frame", "internal/shm", "internal/wire"},
	"internal/wire":                    {"internal/shm"},
	"internal/shm":                     {},
	"internal/jars":                    {},
	"internal/kafkatest":               {"internal/jars"},
	"conductor":                        {"pipeline", "internal/control", "quicmesh/frame"},
	"invokerhook":                      {"conductor", "pipeline", "internal/control", "openwhisk", "internal/shm", "quicmesh/frame", "quicmesh/identity", "quicmesh/transport"},
	"invokerhook/attest":               {},
	"actionproxy/process":              {},
	"actionproxy/unpack":               {},
	"actionproxy/compile":              {"sdk", "quicmesh/frame", "actionproxy/unpack", "pipeline"},
	"actionproxy":                      {"actionproxy/process", "actionproxy/unpack", "actionproxy/compile"},
	"actionproxy/worker":               {"actionproxy", "actionproxy/process", "conductor", "pipeline", "internal/control", "internal/processors", "internal/shm", "internal/wire", "quicmesh"},
	"localwhisk":                       {"openwhisk"},
	"deploy/images":                    {},
	"deploy":                           {"openwhisk", "pipeline"},
	"attach":                           {"internal/control", "pipeline"},
	"sdk/go":                           {"quicmesh", "internal/shm", "internal/wire"},
	"sdk":                              {"quicmesh", "internal/processors", "internal/shm", "internal/wire"},
	"sdk/python":                       {},
	"examples":                         {"sdk"},
	"tests":                            {"internal/control"},
	"cmd":                              {""},
}

// only lists modules that a single room may import.
var only = map[string]string{
	"github.com/quic-go/quic-go":    "quicmesh/transport/quicnet",
	"github.com/goccy/go-yaml":      "pipeline",
	"github.com/twmb/franz-go":      "localwhisk",
	"github.com/spf13/cobra":        "cmd/weft",
	"github.com/invopop/jsonschema": "pipeline",
}

type listed struct {
	ImportPath, Dir, Name string
	Imports               []string
	EmbedPatterns         []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// room is the longest entry of may that p is in.
func room(p string) string {
	best := ""
	for r := range may {
		if (p == r || strings.HasPrefix(p, r+"/")) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func TestImportDirections(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		r := room(name)
		if r == "" {
			t.Errorf("%s is in no room: give it one here and in docs/architecture.md", name)
			continue
		}
		for _, i := range p.Imports {
			for mod, owner := range only {
				if (i == mod || strings.HasPrefix(i, mod+"/")) && name != owner && !strings.HasPrefix(name, "cmd/") {
					t.Errorf("%s imports %s, which is %s's", name, i, owner)
				}
			}
			ours, ok := strings.CutPrefix(i, module)
			if !ok || ours == r || strings.HasPrefix(ours, r+"/") {
				continue
			}
			if !slices.ContainsFunc(may[r], func(m string) bool {
				return ours == m || m == "" || strings.HasPrefix(ours, m+"/")
			}) {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
}

// What functions are built from, offline, embeds its own sources; it imports the standard library and its like.
func TestEmbeddedRoomsNeedNoModule(t *testing.T) {
	all := list(t)
	embedded := map[string]bool{}
	for _, p := range all {
		embedded[p.ImportPath] = slices.Contains(p.EmbedPatterns, "*.go")
	}
	for _, p := range all {
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			if embedded[p.ImportPath] && !embedded[i] && strings.Contains(first, ".") {
				t.Errorf("%s imports %s, which is not where functions are built", p.ImportPath, i)
			}
		}
	}
}

// pure rooms take time and files as arguments.
var pure = []string{"pipeline", "conductor", "quicmesh/frame", "quicmesh/flow", "quicmesh/replay", "quicmesh/barrier", "quicmesh/route"}

func TestPureRooms(t *testing.T) {
	banned := map[string]bool{"net": true, "os": true, "syscall": true, "os/exec": true, "net/http": true}
	for _, dir := range pure {
		eachFile(t, filepath.Join("..", dir), false, func(name string, f *ast.File) {
			for _, i := range f.Imports {
				if path, _ := strconv.Unquote(i.Path.Value); banned[path] {
					t.Errorf("%s imports %s: %s is pure", name, path, dir)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine: %s is pure", name, dir)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name == "Now" {
						t.Errorf("%s reads the clock: %s is pure", name, dir)
					}
				}
				return true
			})
		})
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range list(t) {
		comments := 0
		eachFile(t, p.Dir, false, func(_ string, f *ast.File) {
			if f.Doc != nil && f.Name.Name == p.Name {
				comments++
			}
		})
		if comments != 1 {
			t.Errorf("%s has %d package comments", p.ImportPath, comments)
		}
	}
}

// eachFile parses the Go files of a folder: those of tests, or the others.
func eachFile(t *testing.T, dir string, tests bool, f func(name string, file *ast.File)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		f(name, file)
	}
}
