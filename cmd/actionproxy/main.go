// Command actionproxy is the process in an action's container.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/processors"
)

func main() {
	listen := flag.String("listen", ":8080", "address to answer the platform on")
	version := flag.Bool("version", false, "print the version of the stock proxy that this one stands in for")
	debug := flag.Bool("debug", false, "print the proxy's own events to standard error, into the activations' logs")
	compile := flag.String("compile", "", "compile the code on standard input with this main function into a zip on standard output")
	env := flag.String("env", "", "with -compile: a JSON object of variables for the compiler")
	flag.Parse()
	if os.Getpid() == 1 {
		os.Exit(beInit())
	}
	if !*version && *compile == "" {
		relax()
	}
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) // functions get what we give them, nothing that we got
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch {
	case *version:
		fmt.Printf("OpenWhisk ActionLoop Proxy v%s, by Weft\n", actionproxy.ProxyVersion)
	case *compile != "":
		err = compileZip(ctx, *compile, *env)
	default:
		err = serve(ctx, *listen, *debug)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "actionproxy:", err)
		os.Exit(1)
	}
}

// serve is the parts list of the proxy.
func serve(ctx context.Context, listen string, debug bool) error {
	c := actionproxy.Config{Listen: listen, Env: actionproxy.ReadEnvironment(os.Environ()), Stdout: os.Stdout, Stderr: os.Stderr}
	if debug {
		c.Log = func(event string, kv ...any) { fmt.Fprintln(os.Stderr, append([]any{"actionproxy:", event}, kv...)...) }
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if c.User, err = process.User(os.Getenv("WEFT_FUNCTION_USER")); err != nil {
		return fmt.Errorf("WEFT_FUNCTION_USER: %w", err)
	}
	w := worker.New(worker.Config{Hook: os.Getenv("WEFT_HOOK"), ListenIP: host, Processors: processors.Set()})
	c.Leases, c.Builtins = w, w.Builtins()
	// The slot first: its function must not seem to have died.
	defer w.Close()
	context.AfterFunc(ctx, func() { _ = w.Close() })
	proxy, err := actionproxy.New(c)
	if err != nil {
		return err
	}
	return proxy.Run(ctx)
}
