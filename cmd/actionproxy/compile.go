package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/weft-stream/weft/actionproxy"
)

// compileZip is -compile: code or a zip of it on standard input, a zip of the compiled action on
// standard output.
func compileZip(ctx context.Context, main, env string) error {
	code, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("read code: %w", err)
	}
	var vars map[string]json.RawMessage
	if env != "" {
		if err := json.Unmarshal([]byte(env), &vars); err != nil {
			return fmt.Errorf("decode -env: %w", err)
		}
	}
	return actionproxy.Compile(ctx, actionproxy.ReadEnvironment(os.Environ()), code, main, vars, os.Stdout)
}
