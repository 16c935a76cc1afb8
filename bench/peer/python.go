package peer

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed python
var pythonSource embed.FS

// confluentKafka is the Python client for Kafka: librdkafka's, the fastest that there is.
const confluentKafka = "confluent-kafka==2.16.1"

// Python is what a Kafka chain in Python needs.
type Python struct {
	Interpreter string // with the client
	Stage       string // the program of a stage
	Function    string // the stages' function
}

// NewPython makes an environment of its own with Kafka's client, once, in the user's cache folder; the
// programs go into dir.
func NewPython(ctx context.Context, dir string) (p Python, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return p, err
	}
	env := filepath.Join(cache, "weft", "python-"+confluentKafka)
	p.Interpreter = filepath.Join(env, "bin", "python")
	if exec.CommandContext(ctx, p.Interpreter, "-c", "import confluent_kafka").Run() != nil {
		for _, args := range [][]string{{"python3", "-m", "venv", "--clear", env}, {p.Interpreter, "-m", "pip", "install", "-q", confluentKafka}} {
			if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
				return p, fmt.Errorf("install Kafka's client for Python: %v: %w: %s", args, err, brief(string(out)))
			}
		}
	}
	p.Stage, p.Function = filepath.Join(dir, "kafka_stage.py"), filepath.Join(dir, "pass.py")
	stage, err := pythonSource.ReadFile("python/kafka_stage.py")
	if err != nil {
		return p, err
	}
	function, err := functions.ReadFile("functions/pass/pass.py")
	if err != nil {
		return p, err
	}
	if err := os.WriteFile(p.Stage, stage, 0o644); err != nil {
		return p, err
	}
	return p, os.WriteFile(p.Function, function, 0o644)
}
