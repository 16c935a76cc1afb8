package actionproxy

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/actionproxy/unpack"
)

// Compile builds code (text or an archive) as /init would and writes a zip that any proxy of the same
// image starts without a compiler. vars are variables for the compiler.
func Compile(ctx context.Context, env Environment, code []byte, main string, vars map[string]json.RawMessage, to io.Writer) error {
	switch env.Compiler {
	case compile.Python, compile.Node, compile.Java:
		return fmt.Errorf("compile: %s starts from source; deploy that, a zip of it or a jar", env.Compiler)
	}
	dir, err := os.MkdirTemp("", "weft-compile")
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := unpack.Code(filepath.Join(dir, "src"), code, env.SaveJar); err != nil {
		return err
	}
	environ, err := env.forFunction(vars)
	if err != nil {
		return err
	}
	if _, err := compile.Build(ctx, compile.Request{Compiler: env.Compiler, Dir: dir, Main: main, Env: env.Compile, Function: environ}); err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if env.ExecutionEnv != "" {
		if err := os.WriteFile(filepath.Join(bin, "exec.env"), []byte(env.ExecutionEnv+"\n"), 0o644); err != nil {
			return fmt.Errorf("compile: %w", err)
		}
	}
	z := zip.NewWriter(to)
	if err := z.AddFS(os.DirFS(bin)); err != nil {
		return fmt.Errorf("write zip: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write zip: %w", err)
	}
	return nil
}
