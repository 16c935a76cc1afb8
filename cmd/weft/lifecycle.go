package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/deploy"
	"github.com/weft-stream/weft/deploy/images"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// startTimeout bounds how long a pipeline may take to be ready.
const startTimeout = 5 * time.Minute

// updateTimeout bounds how long a deployment waits for the pipeline's word.
const updateTimeout = time.Minute

// conduct invokes the pipeline's conductor action and waits for the end of its composition, beyond
// the minute that a blocking call may take.
func conduct(ctx context.Context, c *openwhisk.Client, name string, params map[string]any) (json.RawMessage, error) {
	inv, err := c.Invoke(ctx, name, params, openwhisk.InvokeOptions{Blocking: true})
	if err != nil {
		return nil, platformError(fmt.Errorf("invoke %s: %w", name, err))
	}
	result := inv.Result
	if inv.Status == http.StatusAccepted {
		a, err := waitActivation(ctx, c, inv.ActivationID)
		if err != nil {
			return nil, platformError(fmt.Errorf("wait for %s: %w", name, err))
		}
		result = a.Response.Result
	}
	var failed struct {
		Error any `json:"error"`
	}
	if json.Unmarshal(result, &failed) == nil && failed.Error != nil {
		return nil, exitWith(exitFailed, fmt.Errorf("%v", failed.Error))
	}
	return result, nil
}

func waitActivation(ctx context.Context, c *openwhisk.Client, id string) (openwhisk.Activation, error) {
	for {
		a, err := c.GetActivation(ctx, id)
		if err == nil || !openwhisk.IsNotFound(err) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// deployer makes the Deployer of a client whose key opens one namespace.
func deployer(ctx context.Context, c *openwhisk.Client, specFile string) (*deploy.Deployer, error) {
	ns, err := c.Namespaces(ctx)
	if err != nil {
		return nil, platformError(err)
	}
	if len(ns) == 0 {
		return nil, exitWith(exitRefused, fmt.Errorf("the key opens no namespace"))
	}
	return &deploy.Deployer{Client: c, Namespace: ns[0], Dir: filepath.Dir(specFile), Images: images.Published(version)}, nil
}

func newDeploy() *cobra.Command {
	var cl cluster
	var output outputFormat
	var lease time.Duration
	c := &cobra.Command{
		Use:   "deploy FILE",
		Short: "Create or update a pipeline's actions",
		Long: `  weft deploy pipeline.yaml

Create or update the actions of a pipeline on an OpenWhisk: one per stage in the package
NAME.stages, the steps of its start in NAME.steps, and the conductor action NAME. A
function of kind python:3 becomes an action of kind python:3-weft, or, where the cluster has no such kind,
one with Weft's image for it (--docker of wsk; WEFT_IMAGES names where the images are, weft by default).

A running pipeline takes over other transports of its edges at once, while events flow, if nothing else of the
spec has changed: links move, and nothing is lost. Slots whose action has changed get new containers when
their leases are renewed. All else counts from the next start on.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := readSpec(args[0], true, lease)
			if err != nil {
				return err
			}
			client, _, err := cl.client()
			if err != nil {
				return err
			}
			d, err := deployer(c.Context(), client, args[0])
			if err != nil {
				return err
			}
			changed, err := d.Deploy(c.Context(), p)
			if err != nil {
				return platformError(err)
			}
			done := deployment{Namespace: d.Namespace, Pipeline: p.Name, Graph: describe(p)}
			if changed {
				if done.Update, err = update(c.Context(), client, p.Name); err != nil {
					return exitWith(exitFailed, fmt.Errorf("deployed /%s/%s, but if it runs, it has not heard of that: %w\n"+
						"wsk action invoke %s -r -p op update tells it again", d.Namespace, p.Name, err, p.Name))
				}
			}
			return output.print(c.OutOrStdout(), done, done.print)
		},
	}
	cl.flags(c)
	output.flag(c)
	c.Flags().DurationVar(&lease, "lease", 0, "how long one activation holds a worker, instead of the spec's")
	return c
}

// deployment is what weft deploy has done.
type deployment struct {
	Namespace string           `json:"namespace"`
	Pipeline  string           `json:"pipeline"`
	Graph     string           `json:"graph"`
	Update    *control.Updated `json:"update,omitempty"` // of a spec that was changed
}

func (d deployment) print(w io.Writer) {
	fmt.Fprintf(w, "ok: deployed /%s/%s: %s\n", d.Namespace, d.Pipeline, d.Graph)
	u := d.Update
	if u == nil || !u.Running {
		return
	}
	for _, l := range u.Links {
		fmt.Fprintf(w, "it runs: links %s → %s go over to transport %s\n", l.From, l.To, l.Transport)
	}
	if u.Differs != "" {
		fmt.Fprintf(w, "it runs: what was deployed counts from its next start on, for %s has changed\n", u.Differs)
	}
}

// update tells the pipeline, if it runs, what was deployed.
func update(ctx context.Context, client *openwhisk.Client, name string) (*control.Updated, error) {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	result, err := conduct(ctx, client, name, map[string]any{"op": "update"})
	if err != nil {
		return nil, err
	}
	var u control.Updated
	return &u, json.Unmarshal(result, &u)
}

// starter is weft start.
type starter struct {
	cluster
	files
	output     outputFormat
	spec       string
	noHeadroom bool
}

func newStart() *cobra.Command {
	var s starter
	c := &cobra.Command{
		Use:   "start NAME",
		Short: "Start a deployed pipeline",
		Long: `  weft start wordcount
  weft start wordcount --attach pipeline.yaml --in book.txt

Start a deployed pipeline by its conductor action and wait until every stage is ready. With
--attach, this weft reads and writes the pipeline's files until the pipeline ends.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, auth, err := s.client()
			switch {
			case err != nil:
				return err
			case s.spec != "":
				return s.attached(c, client, auth, args[0])
			case s.in != "" || s.out != "" || s.dead != "":
				return exitWith(exitUsage, errors.New("--in, --out and --dead are read and written from here: they need --attach FILE"))
			}
			return conductAndPrint(c, client, args[0], startParams(s.noHeadroom), &s.output)
		},
	}
	s.cluster.flags(c)
	s.hookFlag(c)
	s.files.flags(c)
	s.output.flag(c)
	c.Flags().StringVar(&s.spec, "attach", "", "the pipeline's file: read and write its sources and sinks from here")
	c.Flags().BoolVar(&s.noHeadroom, "no-headroom", false, "start even without room for successors; then a repair waits for a free place")
	return c
}

func startParams(noHeadroom bool) map[string]any {
	p := map[string]any{"op": "start"}
	if noHeadroom {
		p["noHeadroom"] = true
	}
	return p
}

// attached starts the pipeline with its files here, and follows it to its end.
func (s *starter) attached(c *cobra.Command, client *openwhisk.Client, auth, name string) error {
	p, err := readSpec(s.spec, s.in != "", 0)
	if err != nil {
		return err
	}
	if p.Name != name {
		return exitWith(exitUsage, fmt.Errorf("%s describes pipeline %q, not %q", s.spec, p.Name, name))
	}
	d, err := deployer(c.Context(), client, s.spec)
	if err != nil {
		return err
	}
	run := session{cmd: c, pipeline: p, client: client, namespace: d.Namespace, auth: auth, hook: s.hookAddress(),
		dir: d.Dir, files: &s.files, noHeadroom: s.noHeadroom}
	return run.run(c.Context())
}

// conductAndPrint runs an op of the conductor action and prints its result, the pipeline's status.
func conductAndPrint(c *cobra.Command, client *openwhisk.Client, name string, params map[string]any, output *outputFormat) error {
	ctx, cancel := context.WithTimeout(c.Context(), startTimeout)
	defer cancel()
	result, err := conduct(ctx, client, name, params)
	if err != nil {
		return err
	}
	var st control.PipelineStatus
	if err := json.Unmarshal(result, &st); err != nil {
		return exitWith(exitFailed, fmt.Errorf("read what %s answered: %w", name, err))
	}
	return output.print(c.OutOrStdout(), st, func(w io.Writer) {
		statusTable(w, control.Status{Pipelines: []control.PipelineStatus{st}})
	})
}

func newStop() *cobra.Command {
	var cl cluster
	var output outputFormat
	c := &cobra.Command{
		Use:   "stop NAME",
		Short: "Stop a running pipeline in order",
		Long:  "  weft stop wordcount\n\nStop a running pipeline in order, by its conductor action.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := cl.client()
			if err != nil {
				return err
			}
			return conductAndPrint(c, client, args[0], map[string]any{"op": "stop"}, &output)
		},
	}
	cl.flags(c)
	output.flag(c)
	return c
}

// functionKinds lists the kinds that p's functions need on this machine.
func functionKinds(p *pipeline.Pipeline) map[string]bool {
	out := map[string]bool{}
	for _, s := range p.Stages {
		if s.Function != nil {
			out[s.Function.Kind] = true
		}
	}
	return out
}
