// Command invokerhook is the sidecar beside an OpenWhisk invoker: see package invokerhook. It prints
// nothing on stdout. Its first address is there, and "ready" in its log, when it works.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/invokerhook/attest"
	"github.com/weft-stream/weft/pipeline"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// list is a flag that may be given several times, or once with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds to the list; see flag.Value.
func (l *list) Set(s string) error {
	*l = append(*l, s) // whole: a path may have commas
	return nil
}

// run is main with its surroundings; it returns the exit code: 0 after an orderly end, 1 after a
// failure, 2 for a wrong command line.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	var cfg invokerhook.Config
	var listen list
	var kafka kafkaFlags
	fs := flag.NewFlagSet("invokerhook", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Var(&listen, "listen", "address to listen on, unix:PATH or tcp:HOST:PORT; repeatable (WEFT_LISTEN, default "+control.DefaultAddress+")")
	kafka.define(fs, getenv)
	fs.StringVar(&cfg.APIHost, "apihost", getenv("WEFT_APIHOST"), "the platform's REST API, host or URL (WEFT_APIHOST)")
	fs.BoolVar(&cfg.Insecure, "insecure", getenv("WEFT_INSECURE") == "true", "accept any TLS certificate of the platform (WEFT_INSECURE=true)")
	fs.StringVar(&cfg.Host, "host", getenv("WEFT_HOST"), "name of this hook, unique in the cluster (WEFT_HOST, default the host's name)")
	fs.StringVar(&cfg.RegistryTopic, "registry", getenv("WEFT_REGISTRY"), "Kafka topic of the registry (WEFT_REGISTRY, default weft.registry)")
	docker := fs.String("docker", getenv("WEFT_DOCKER"), "Docker that runs the action containers, unix://PATH or tcp://HOST:PORT (WEFT_DOCKER; with --attest docker "+attest.DefaultDocker+")")
	workers := fs.String("attest", or(getenv("WEFT_ATTEST"), "docker"), "docker: workers are containers that Docker knows; process: processes of this host too, as on the embedded platform (WEFT_ATTEST)")
	keyFile := fs.String("key-file", getenv("WEFT_KEY_FILE"), "file of the cluster's keys: one a line, 64 hex digits, the one in use first (WEFT_KEY_FILE)")
	fs.DurationVar(&cfg.InvokerSilence, "invoker-silence", 0, "how long an invoker may give no sign of life before its workers are replaced (default 5s)")
	fs.StringVar(&cfg.Metrics, "metrics", getenv("WEFT_METRICS"), "where to answer GET /metrics for Prometheus, HOST:PORT; it names all namespaces' pipelines (WEFT_METRICS, default nowhere)")
	fs.Func("ring-memory", "memory for links between workers of this host, for instance 512Mi; a quarter of it is the most that one pipeline gets, and links beyond it go over QUIC (WEFT_RING_MEMORY, default 1Gi)", func(text string) (err error) {
		cfg.RingMemory, err = pipeline.ParseSize(text)
		return err
	})
	level := fs.String("log-level", or(getenv("WEFT_LOG_LEVEL"), "info"), "debug, info, warn or error (WEFT_LOG_LEVEL)")
	if env := getenv("WEFT_RING_MEMORY"); env != "" {
		if err := fs.Set("ring-memory", env); err != nil {
			fmt.Fprintf(stderr, "invokerhook: WEFT_RING_MEMORY: %v\n", err)
			return 2
		}
	}
	if err := fs.Parse(args); err != nil {
		return 2
	}
	cfg.Listen = listen.orEnv(getenv("WEFT_LISTEN"), control.DefaultAddress)

	lvl, err := zerolog.ParseLevel(*level)
	if err != nil || fs.NArg() > 0 {
		fmt.Fprintf(stderr, "invokerhook: log level %q or argument %q not understood\n", *level, fs.Arg(0))
		return 2
	}
	if *workers != "docker" && *workers != "process" {
		fmt.Fprintf(stderr, "invokerhook: --attest %q: want docker or process\n", *workers)
		return 2
	}
	cfg.Docker, cfg.Processes = *docker, *workers == "process"
	if cfg.Docker == "" && !cfg.Processes {
		cfg.Docker = attest.DefaultDocker
	}
	cfg.Logger = zerolog.New(stderr).Level(lvl).With().Timestamp().Logger()
	if cfg.Keys, err = readKeys(*keyFile); err != nil {
		fmt.Fprintf(stderr, "invokerhook: %v\n", err)
		return 2
	}
	if err := kafka.into(&cfg, getenv); err != nil {
		fmt.Fprintf(stderr, "invokerhook: %v\n", err)
		return 2
	}
	if err := serve(ctx, cfg); err != nil {
		cfg.Logger.Error().Err(err).Msg("stopped")
		return 1
	}
	cfg.Logger.Info().Msg("stopped")
	return 0
}

func serve(ctx context.Context, cfg invokerhook.Config) error {
	h, err := invokerhook.New(cfg)
	if err != nil {
		return err
	}
	err = h.Open(ctx)
	if err == nil {
		err = h.Run(ctx)
	}
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	return err
}

func (l *list) orEnv(env, otherwise string) []string {
	for _, s := range []string{env, otherwise} {
		if len(*l) == 0 {
			*l = strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
		}
	}
	return *l
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// readKeys reads the cluster's keys. An error never quotes a line.
func readKeys(path string) ([][]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("no key file: make one with openssl rand -hex 32, and give it with --key-file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	defer f.Close()
	var keys [][]byte
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := hex.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("key file %s: line %d is not a key in hex digits", path, n)
		}
		keys = append(keys, k)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	return keys, nil
}
