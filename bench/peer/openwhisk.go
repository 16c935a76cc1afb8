package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/openwhisk"
)

// OpenWhisk is a platform that sequences and compositions are run on.
type OpenWhisk struct {
	client   *openwhisk.Client
	Embedded bool // the platform is Weft's own: no measure of Apache OpenWhisk
	stop     func()
}

// NewOpenWhisk connects to the user's platform, or where apiHost is empty starts the embedded one.
func NewOpenWhisk(ctx context.Context, weft, dir, apiHost, auth string, insecure bool) (*OpenWhisk, error) {
	o := &OpenWhisk{stop: func() {}}
	if apiHost == "" {
		var err error
		o.Embedded = true
		if apiHost, auth, o.stop, err = embedded(ctx, weft, dir); err != nil {
			return nil, err
		}
	}
	var err error
	o.client, err = openwhisk.NewClient(openwhisk.Config{APIHost: apiHost, Auth: auth, Insecure: insecure})
	if err != nil {
		o.stop()
		return nil, err
	}
	if err := o.deploy(ctx); err != nil {
		o.stop()
		return nil, err
	}
	return o, nil
}

// Close ends the embedded platform.
func (o *OpenWhisk) Close() { o.stop() }

// embedded runs weft up until stop is called.
func embedded(ctx context.Context, weft, dir string) (apiHost, auth string, stop func(), err error) {
	props := filepath.Join(dir, "wskprops")
	_ = os.Remove(props) // of an earlier one
	cmd := exec.CommandContext(ctx, weft, "up", "--listen", "127.0.0.1:0", "--wskprops", props)
	var words strings.Builder
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if err := cmd.Start(); err != nil {
		return "", "", nil, fmt.Errorf("start weft up: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	}
	for {
		if b, err := os.ReadFile(props); err == nil {
			values := map[string]string{}
			for _, line := range strings.Split(string(b), "\n") {
				if k, v, ok := strings.Cut(line, "="); ok {
					values[k] = v
				}
			}
			return values["APIHOST"], values["AUTH"], stop, nil
		}
		select {
		case err := <-ended:
			return "", "", nil, fmt.Errorf("weft up ended: %w: %s", err, brief(words.String()))
		case <-ctx.Done():
			stop()
			return "", "", nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const (
	passAction = "weft-compare-pass"
	conductor  = "weft-compare-conductor"
	sequence   = "weft-compare-sequence"
)

// passCode and conductorCode are ordinary actions in Python.
const (
	passCode      = "def main(args):\n    return args\n"
	conductorCode = `def main(args):
    left = args.get("left", 0)
    if left == 0:
        return {"params": args}
    return {"action": args["pass"], "params": args, "state": {"left": left - 1}}
`
)

// deploy creates the actions, and a sequence of each length when it is asked for.
func (o *OpenWhisk) deploy(ctx context.Context) error {
	for name, code := range map[string]string{passAction: passCode, conductor: conductorCode} {
		a := openwhisk.Action{Exec: &openwhisk.Exec{Kind: "python:3", Code: &code}}
		if name == conductor {
			a.Annotations = openwhisk.KeyValues{{Key: "conductor", Value: json.RawMessage("true")}}
		}
		if _, err := o.client.PutAction(ctx, name, a, true); err != nil {
			return fmt.Errorf("create action %s: %w", name, err)
		}
	}
	return nil
}

// Sequence invokes a sequence of n actions, one call after the other.
func (o *OpenWhisk) Sequence(ctx context.Context, n int, p load.Plan) (load.Result, error) {
	name := fmt.Sprint(sequence, n)
	components := make([]string, n)
	for i := range components {
		components[i] = "/_/" + passAction
	}
	if _, err := o.client.PutAction(ctx, name, openwhisk.Action{Exec: &openwhisk.Exec{Kind: "sequence", Components: components}}, true); err != nil {
		return load.Result{}, fmt.Errorf("create a sequence of %d: %w", n, err)
	}
	return o.calls(ctx, name, map[string]any{"p": strings.Repeat("x", p.Payload)}, p)
}

// Conductor invokes a composition of n components.
func (o *OpenWhisk) Conductor(ctx context.Context, n int, p load.Plan) (load.Result, error) {
	return o.calls(ctx, conductor, map[string]any{"left": n, "pass": passAction, "p": strings.Repeat("x", p.Payload)}, p)
}

func (o *OpenWhisk) calls(ctx context.Context, name string, params map[string]any, p load.Plan) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	t := load.NewTaken(p)
	for n := range p.Warmup + p.Events {
		sent := load.Now()
		in, err := o.client.Invoke(ctx, name, params, openwhisk.InvokeOptions{Blocking: true, Result: true})
		if err != nil {
			return load.Result{}, fmt.Errorf("invoke %s: %w", name, err)
		}
		if in.Status != http.StatusOK {
			return load.Result{}, fmt.Errorf("invoke %s: status %d: %.200s", name, in.Status, in.Result)
		}
		if _, err := t.Note(load.Now(), sent, sent, uint64(n)); err != nil {
			return load.Result{}, err
		}
	}
	return t.Result(), nil
}
