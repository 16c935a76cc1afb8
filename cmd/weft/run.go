package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/attach"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// runFlags of weft run.
type runFlags struct {
	files
	localFlags
	lease      time.Duration
	noHeadroom bool
	quiet      bool
}

// localFlags are those of the embedded platform.
type localFlags struct {
	listen, hook, limits string
	placement, props     string
	containers           string
	settings             []string
	ringMemory           string
	grace                time.Duration
}

func (l *localFlags) flags(c *cobra.Command, listen string) {
	c.Flags().StringVar(&l.listen, "listen", listen, "address of the platform's API")
	c.Flags().StringVar(&l.hook, "hook", "", "where the hook listens: unix:PATH or tcp:HOST:PORT (default: a socket of this run)")
	c.Flags().StringVar(&l.limits, "limits", "", "openwhisk: the limits a stock OpenWhisk has")
	c.Flags().StringVar(&l.containers, "containers", "processes", "processes of this machine, or docker: with the runtime images, which are built where they are missing")
	c.Flags().StringVar(&l.placement, "placement", "", "pass-over-last: never reuse the container that ran an action last; busy: a container stays busy a while after its answer")
	c.Flags().StringArrayVar(&l.settings, "config", nil, "a setting of the platform under OpenWhisk's name, KEY=VALUE, for instance whisk.container-proxy.timeouts.pause-grace=10s")
	c.Flags().StringVar(&l.props, "wskprops", "", "write API host and key to this file, as wsk reads them, once the API answers")
	c.Flags().StringVar(&l.ringMemory, "ring-memory", "", "the hook's memory for links, for instance 512Mi; beyond it they go over QUIC (default 1Gi)")
	c.Flags().DurationVar(&l.grace, "pause-grace", 10*time.Second, "idle time after which a container is frozen")
}

func (l *localFlags) options() (localOptions, error) {
	o := localOptions{listen: l.listen, limits: l.limits, hook: l.hook, grace: l.grace, props: l.props, docker: l.containers == "docker", ringMemory: l.ringMemory}
	if l.containers != "docker" && l.containers != "processes" {
		return o, exitWith(exitUsage, fmt.Errorf("--containers %q: want processes or docker", l.containers))
	}
	switch l.placement {
	case "":
	case "pass-over-last":
		o.placement = localwhisk.Placement{PassOverLast: true}
	case "busy":
		o.placement = localwhisk.Placement{CompletionDelay: 50 * time.Millisecond}
	default:
		return o, exitWith(exitUsage, fmt.Errorf("--placement %q: want pass-over-last or busy", l.placement))
	}
	for _, kv := range l.settings {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return o, exitWith(exitUsage, fmt.Errorf("--config %q: want KEY=VALUE", kv))
		}
		setting, err := localwhisk.ParseSetting(key, value)
		if err != nil {
			return o, exitWith(exitUsage, fmt.Errorf("--config: %w", err))
		}
		o.settings = append(o.settings, setting)
	}
	if _, _, err := control.Address(l.hook); l.hook != "" && err != nil {
		return o, exitWith(exitUsage, fmt.Errorf("--hook: %w", err))
	}
	if _, err := pipeline.ParseSize(l.ringMemory); l.ringMemory != "" && err != nil {
		return o, exitWith(exitUsage, fmt.Errorf("--ring-memory: %w", err))
	}
	if l.limits != "" && l.limits != "openwhisk" {
		return o, exitWith(exitUsage, fmt.Errorf("--limits %q: want openwhisk, or nothing", l.limits))
	}
	return o, nil
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline on this machine, from its input to its end",
		Long: `  weft run pipeline.yaml --in book.txt

Run a pipeline on this machine: start the embedded platform, deploy, start, feed the input, print what
the sinks get, and end when the input ends. Results go to stdout, everything else to stderr.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return run(c, args[0], &f) },
	}
	f.files.flags(c)
	f.localFlags.flags(c, "127.0.0.1:0")
	c.Flags().DurationVar(&f.lease, "lease", 0, "how long one activation holds a worker, instead of the spec's")
	c.Flags().BoolVar(&f.noHeadroom, "no-headroom", false, "start even without room for successors")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary")
	return c
}

func run(c *cobra.Command, file string, f *runFlags) error {
	ctx := c.Context()
	p, err := readSpec(file, f.in != "", f.lease)
	if err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	for _, st := range p.Stages {
		if st.Function != nil && st.Function.Action != "" {
			return exitWith(exitUsage, fmt.Errorf("stage %s is the action %s, but the platform of weft run is a new one and has no actions: use weft up, weft deploy and weft start --attach, or name its source", st.Name, st.Function.Action))
		}
	}
	if err := haveLanguages(p); err != nil && !o.docker {
		return err
	}
	note := c.ErrOrStderr()
	if f.quiet {
		note = io.Discard
	}
	if err := f.files.open(p, filepath.Dir(file), c.OutOrStdout(), note); err != nil {
		return err
	}
	defer f.files.close()
	if !f.quiet {
		fmt.Fprintf(c.ErrOrStderr(), "weft: %s on this machine: %s; %d workers, each an OpenWhisk activation of its own\n",
			p.Name, describe(p), len(p.Slots()))
	}
	o.note = c.ErrOrStderr()
	l, err := openLocal(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	client, err := openwhisk.NewClient(openwhisk.Config{APIHost: l.platform.APIHost(), Auth: l.platform.Auth()})
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	d, err := deployer(ctx, client, file)
	if err != nil {
		return err
	}
	if _, err := d.Deploy(ctx, p); err != nil {
		return platformError(err)
	}
	if !f.quiet {
		fmt.Fprintf(c.ErrOrStderr(), "weft: API %s  hook %s  (--wskprops FILE writes the key)\n", l.platform.APIHost(), l.hookAt)
	}
	s := session{cmd: c, pipeline: p, client: client, namespace: d.Namespace, auth: l.platform.Auth(), hook: l.hookAt,
		dir: d.Dir, files: &f.files, noHeadroom: f.noHeadroom, quiet: f.quiet}
	return s.run(ctx)
}

// haveLanguages looks for the programs that functions of p need on this machine.
func haveLanguages(p *pipeline.Pipeline) error {
	kinds := functionKinds(p)
	for _, need := range []struct{ kind, program, install string }{
		{"python:3", "python3", "Python 3 (Debian: apt-get install python3)"},
		{"go:1.26", "go", "Go 1.26 or later (https://go.dev/dl)"},
		{"nodejs:20", "node", "Node.js 18 or later (Debian: apt-get install nodejs)"},
		{"java:17", "javac", "a JDK of version 17 or later (Debian: apt-get install openjdk-17-jdk-headless)"},
	} {
		if !kinds[need.kind] || need.kind == "java:17" && os.Getenv("JAVA_HOME") != "" {
			continue
		}
		if _, err := exec.LookPath(need.program); err != nil {
			return exitWith(exitMissing, fmt.Errorf("functions of kind %s need %s, which is not in PATH: install %s", need.kind, need.program, need.install))
		}
	}
	return nil
}

// hookAnswers tells whether a hook listens at addr.
func hookAnswers(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := attach.Dial(ctx, addr, "", nil)
	var refused *control.RemoteError
	if errors.As(err, &refused) {
		return true // without a key, that is its answer
	}
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
