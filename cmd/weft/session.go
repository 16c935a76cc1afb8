package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/attach"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// pollEvery is how often the state of a starting pipeline is asked for, restEvery that of a running one.
const (
	pollEvery = 50 * time.Millisecond
	restEvery = 250 * time.Millisecond
)

// stopTimeout bounds an orderly stop.
const stopTimeout = 15 * time.Second

// silence is how long a pipeline's hook may be away before we give up.
const silence = 30 * time.Second

// session is one run of a deployed pipeline with its files: attach, start, watch, end.
type session struct {
	cmd        *cobra.Command
	pipeline   *pipeline.Pipeline
	client     *openwhisk.Client
	namespace  string
	auth       string
	hook       string
	dir        string
	files      *files
	noHeadroom bool
	quiet      bool

	at *attach.Attachment
}

// run goes from the opened files to the pipeline's end.
func (s *session) run(ctx context.Context) error {
	if s.files.inputs == nil {
		if err := s.files.open(s.pipeline, s.dir, s.cmd.OutOrStdout(), s.cmd.ErrOrStderr()); err != nil {
			return err
		}
		defer s.files.close()
	}
	s.at = attach.New(attach.Config{Hook: s.hook, Auth: s.auth, Namespace: s.namespace, Pipeline: s.pipeline.Name,
		Inputs: s.files.inputs, Outputs: s.files.outputs, Dead: s.files.letters})
	// The attachment outlives ctx: an interrupted pipeline is stopped with its files attached.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	attached := make(chan error, 1)
	var over sync.WaitGroup
	over.Go(func() { attached <- s.at.Run(life) })
	defer func() { end(); over.Wait() }()

	err := s.watch(ctx, attached)
	if ctx.Err() != nil {
		s.stop()
		return ctx.Err()
	}
	return err
}

// watch starts the pipeline and follows it until it ends.
func (s *session) watch(ctx context.Context, attached <-chan error) error {
	if err := s.attach(ctx, attached); err != nil {
		return err
	}
	before, err := s.lastTerm(ctx)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	startCtx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	go func() {
		_, err := conduct(startCtx, s.client, s.pipeline.Name, startParams(s.noHeadroom))
		started <- err
	}()
	p := newProgress(s.cmd.ErrOrStderr(), s.pipeline, s.files, s.quiet)
	defer p.done()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for heard := time.Now(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-attached:
			return exitWith(exitFailed, err)
		case err := <-s.at.Broken():
			s.stop()
			return exitWith(exitFailed, err)
		case err := <-started:
			if err != nil {
				return err
			}
			started = nil
		case <-tick.C:
		}
		st, err := s.status(ctx)
		switch {
		case err == nil:
			heard = time.Now()
		case time.Since(heard) > silence: // a hook that is being restarted is back sooner
			return exitWith(exitUnreachable, fmt.Errorf("nothing was heard of pipeline %s for %v: %w", s.pipeline.Name, silence, err))
		}
		if err != nil || st.Term <= before { // or the hook still shows an earlier run
			continue
		}
		p.show(st)
		switch st.Phase {
		case control.Running:
			tick.Reset(restEvery)
		case control.Ended, control.Failed:
			return s.over(st, started, p)
		}
	}
}

// over gives the result of a pipeline that is over. It can be before its composition has reported, whose
// word on a start that failed is the one to tell.
func (s *session) over(st control.PipelineStatus, started <-chan error, p *progress) error {
	if started != nil {
		if err := <-started; err != nil {
			return err
		}
	}
	if st.Phase == control.Failed {
		return exitWith(exitFailed, fmt.Errorf("pipeline %s failed: %s", s.pipeline.Name, st.Error))
	}
	p.summary(st)
	return nil
}

// attach waits for the hook to take the attachment, or to refuse it.
func (s *session) attach(ctx context.Context, attached <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	taken := make(chan error, 1)
	go func() { taken <- s.at.Attached(ctx) }()
	select {
	case err := <-taken:
		return exitWith(exitUnreachable, err)
	case err := <-attached:
		return exitWith(exitRefused, err)
	}
}

// lastTerm is that of the pipeline's last run, which the hook shows until there is another; 0 without one.
func (s *session) lastTerm(ctx context.Context) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		st, err := s.status(ctx)
		var unknown *control.RemoteError // the hook has answered that it knows of no run
		if err == nil || errors.Is(err, errNoPipeline) || errors.As(err, &unknown) {
			return st.Term, nil
		}
		select {
		case <-ctx.Done():
			return 0, exitWith(exitUnreachable, fmt.Errorf("ask the hook for the pipeline's last run: %w", err))
		case <-time.After(pollEvery):
		}
	}
}

var errNoPipeline = errors.New("the hook does not know the pipeline yet")

func (s *session) status(ctx context.Context) (control.PipelineStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var st control.Status
	q := control.Query{Namespace: s.namespace, Pipeline: s.pipeline.Name}
	if err := s.at.Call(ctx, control.TypeStatus, q, &st); err != nil {
		return control.PipelineStatus{}, err
	}
	if len(st.Pipelines) == 0 {
		return control.PipelineStatus{}, errNoPipeline
	}
	return st.Pipelines[0], nil
}

// stop ends the pipeline in order, with a time of its own: the command's has been cancelled.
func (s *session) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	fmt.Fprintf(s.cmd.ErrOrStderr(), "weft: stopping %s\n", s.pipeline.Name)
	q := control.Query{Namespace: s.namespace, Pipeline: s.pipeline.Name}
	if err := s.at.Call(ctx, control.TypeStop, q, nil); err != nil {
		fmt.Fprintf(s.cmd.ErrOrStderr(), "weft: stop: %v\n", err)
	}
}
