// Package deploy turns a pipeline into OpenWhisk actions: one per stage in the package p.stages, with one
// more for the events of an ingress, the steps of its start in p.steps, and the conductor action p. It
// speaks REST alone.
package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// Code of actions that the proxy itself plays; it is the whole of their source.
const (
	conductorCode = "weft:conductor"
	stepCode      = "weft:step"
	sourceCode    = "weft:source"
	sinkCode      = "weft:sink"
	ingressCode   = "weft:ingress"
)

// builtinKind is the kind whose containers run Weft's proxy for actions without code of their own.
const builtinKind = "go:1.26"

// planParameter of the conductor action and its steps is the pipeline.
const planParameter = "pipeline"

// annotation of a stage's action says whose it is.
const annotation = "weft"

// Limits of the short actions of a start: ms, MB. What a lease is long enough for, a step has; so that a
// cluster with a lower limit takes a pipeline with a shorter lease.
const (
	stepTimeout    = 300_000
	minStepTimeout = 60_000 // what OpenWhisk gives an action that asks for nothing
	stepMemory     = 128
	stepLogs       = 1
)

// Deployer puts pipelines on a platform.
type Deployer struct {
	Client    *openwhisk.Client
	Namespace string // of the client's key
	Dir       string // of the spec: sources of functions are relative to it

	// Images are Weft's images by kind, for a cluster that has no kinds of Weft's.
	Images map[string]string
}

// StagesPackage and StepsPackage are the packages of a pipeline's actions. An action and a package
// can't share a name, hence not the pipeline's own.
func StagesPackage(name string) string { return name + ".stages" }

// StepsPackage holds the components of the conductor action's composition.
func StepsPackage(name string) string { return name + ".steps" }

// Deploy creates or updates the actions of p, all code read before the first call, and removes those
// of stages that p has no more. An update of a stage's action gives its workers other containers, so one that
// is as it is to be is left alone. changed: the pipeline was deployed before, with another spec.
func (d *Deployer) Deploy(ctx context.Context, p *pipeline.Pipeline) (changed bool, err error) {
	actions, err := d.actions(ctx, p)
	if err != nil {
		return false, err
	}
	if err := d.onWeft(ctx, actions); err != nil {
		return false, err
	}
	for _, pkg := range []string{StagesPackage(p.Name), StepsPackage(p.Name)} {
		if err := d.sweep(ctx, pkg, actions); err != nil {
			return false, err
		}
	}
	before, err := d.Client.GetAction(ctx, p.Name)
	if err != nil && !openwhisk.IsNotFound(err) {
		return false, fmt.Errorf("read action %s: %w", p.Name, err)
	}
	spec := before.Parameters.Get(planParameter)
	changed = spec != nil && !sameJSON(spec, actions[p.Name].Parameters.Get(planParameter))
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		if strings.HasPrefix(name, StagesPackage(p.Name)+"/") && d.has(ctx, name, actions[name]) {
			continue
		}
		if _, err := d.Client.PutAction(ctx, name, actions[name], true); err != nil {
			return false, fmt.Errorf("deploy action %s: %w%s", name, err, advice(err))
		}
	}
	return changed, nil
}

// has tells whether the platform's action does and is allowed what a is. When that can't be told, it isn't.
func (d *Deployer) has(ctx context.Context, name string, a openwhisk.Action) bool {
	old, err := d.Client.GetAction(ctx, name)
	if err != nil || old.Exec == nil || old.Limits == nil {
		return false
	}
	// What the platform adds by itself.
	old.Annotations = old.Annotations.Without(openwhisk.AnnotationExec)
	limits := *old.Limits
	if a.Limits.Instances == nil {
		limits.Instances = nil
	}
	exec := *old.Exec
	if a.Exec.Main == "" && exec.Main == "main" {
		exec.Main = ""
	}
	for _, pair := range [][2]any{{exec, *a.Exec}, {limits, *a.Limits}, {byKey(old.Parameters), byKey(a.Parameters)}, {byKey(old.Annotations), byKey(a.Annotations)}} {
		x, _ := json.Marshal(pair[0])
		y, _ := json.Marshal(pair[1]) // what differs only in having no JSON form doesn't exist
		if !sameJSON(x, y) {
			return false
		}
	}
	return true
}

// byKey is a list of keys and values whose order doesn't matter.
func byKey(list openwhisk.KeyValues) map[string]openwhisk.KeyValue {
	out := map[string]openwhisk.KeyValue{}
	for _, kv := range list {
		out[kv.Key] = kv
	}
	return out
}

// sameJSON compares values, not how they are written.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// advice is what a user of the spec can do about an error in the platform's words.
func advice(err error) string {
	if strings.Contains(err.Error(), "milliseconds exceeds allowed threshold") {
		return "; set the pipeline's lease (--lease) to what the platform allows an action to run"
	}
	return ""
}

// sweep makes sure that the package is there and holds no other actions than keep's.
func (d *Deployer) sweep(ctx context.Context, pkg string, keep map[string]openwhisk.Action) error {
	old, err := d.Client.GetPackage(ctx, pkg)
	if openwhisk.IsNotFound(err) {
		_, err = d.Client.PutPackage(ctx, pkg, openwhisk.Package{}, false)
	}
	if err != nil {
		return fmt.Errorf("deploy package %s: %w", pkg, err)
	}
	for _, a := range old.Actions {
		name := pkg + "/" + a.Name
		if _, ok := keep[name]; ok {
			continue
		}
		if err := d.Client.DeleteAction(ctx, name); err != nil && !openwhisk.IsNotFound(err) {
			return fmt.Errorf("delete action %s: %w", name, err)
		}
	}
	return nil
}

// actions makes all actions of p, by name.
func (d *Deployer) actions(ctx context.Context, p *pipeline.Pipeline) (map[string]openwhisk.Action, error) {
	out := map[string]openwhisk.Action{}
	public := p.Public()
	for i := range p.Stages {
		s := &p.Stages[i]
		a, err := d.stage(ctx, p, s)
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, err)
		}
		public.Stages[i].MemoryMB = *a.Limits.Memory // now known of existing actions too
		out[StagesPackage(p.Name)+"/"+s.Name] = a
	}
	if p.Ingress() != nil {
		out[StagesPackage(p.Name)+"/"+pipeline.IngressName] = builtin(p, ingressCode)
	}
	plan := openwhisk.KV(planParameter, public)
	steps := []string{"plan", "report", "stop", "status", "scale", "restart", "update"}
	for _, s := range p.Stages {
		steps = append(steps, "await-"+s.Name)
	}
	for _, name := range steps {
		out[StepsPackage(p.Name)+"/"+name] = builtin(p, stepCode, plan)
	}
	conductor := builtin(p, conductorCode, plan)
	conductor.Annotations = conductor.Annotations.With(openwhisk.KV(openwhisk.AnnotationConductor, true))
	out[p.Name] = conductor
	return out, nil
}

// builtin is a short action that the proxy itself plays.
func builtin(p *pipeline.Pipeline, code string, parameters ...openwhisk.KeyValue) openwhisk.Action {
	return openwhisk.Action{
		Exec:        openwhisk.CodeExec(builtinKind, code, false),
		Parameters:  parameters,
		Annotations: openwhisk.KeyValues{openwhisk.KV(openwhisk.AnnotationProvideAPIKey, true)},
		Limits:      openwhisk.NewLimits(min(stepTimeout, max(minStepTimeout, int(p.LeaseMS))), stepMemory, stepLogs),
	}
}

// stage is the action that a worker of s is held by: concurrency 1 and no log collection, since its
// activation lasts as long as its lease.
func (d *Deployer) stage(ctx context.Context, p *pipeline.Pipeline, s *pipeline.Stage) (openwhisk.Action, error) {
	a := openwhisk.Action{
		Limits: openwhisk.NewLimits(int(p.LeaseMS), s.MemoryMB, 0),
		Annotations: openwhisk.KeyValues{openwhisk.KV(annotation, map[string]string{"pipeline": p.Name, "stage": s.Name}),
			openwhisk.KV(openwhisk.AnnotationProvideAPIKey, false)},
	}
	one := 1
	a.Limits.Concurrency = &one
	switch {
	case s.Source != nil:
		a.Exec = openwhisk.CodeExec(builtinKind, sourceCode, false)
		return a, nil
	case s.Sink != nil:
		a.Exec = openwhisk.CodeExec(builtinKind, sinkCode, false)
		return a, nil
	case s.Function.Action != "":
		return d.existing(ctx, a, s.Function)
	}
	if s.Fused != nil {
		return d.fused(a, s)
	}
	exec, err := code(d.Dir, s.Function)
	a.Exec = exec
	a.Parameters = parameters(nil, s.Function)
	return a, err
}

// existing copies an action: the pipeline has its own, which only its deployment changes. All is kept
// but for what a lease needs, and the memory if the spec says one.
func (d *Deployer) existing(ctx context.Context, a openwhisk.Action, f *pipeline.Function) (openwhisk.Action, error) {
	from, err := d.Client.GetAction(ctx, f.Action)
	if err != nil {
		return a, fmt.Errorf("read action %s: %w", f.Action, err)
	}
	if from.Exec == nil || from.Limits == nil || from.Limits.Memory == nil {
		return a, fmt.Errorf("read action %s: the platform has answered without its code or limits", f.Action)
	}
	if from.Exec.Kind == openwhisk.KindSequence {
		return a, fmt.Errorf("action %s is a sequence: a stage is one action; name its components as stages", f.Action)
	}
	if from.Annotations.Truthy(openwhisk.AnnotationConductor) {
		return a, fmt.Errorf("action %s conducts a composition: a stage is one action; name its components as stages", f.Action)
	}
	a.Exec = from.Exec
	if *a.Limits.Memory == 0 {
		a.Limits.Memory = from.Limits.Memory
	}
	if from.Annotations.Get(openwhisk.AnnotationProvideAPIKey) == nil { // older than the annotation: it gets the key
		a.Annotations = a.Annotations.With(openwhisk.KV(openwhisk.AnnotationProvideAPIKey, true))
	}
	a.Annotations = a.Annotations.With(from.Annotations.Without(annotation, openwhisk.AnnotationExec)...)
	if f.Main != "" {
		a.Exec.Main = f.Main
	}
	a.Parameters = parameters(from.Parameters, f)
	return a, nil
}

// parameters adds the spec's parameters and environment to those an action has.
func parameters(have openwhisk.KeyValues, f *pipeline.Function) openwhisk.KeyValues {
	for _, k := range slices.Sorted(maps.Keys(f.Parameters)) {
		have = have.With(openwhisk.KV(k, f.Parameters[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(f.Env)) {
		v, _ := json.Marshal(f.Env[k]) // a string has a JSON form
		have = have.With(openwhisk.KeyValue{Key: k, Value: v, Init: true})
	}
	return have
}
