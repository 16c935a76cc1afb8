package localwhisk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Docker says how containers are started with Docker, in OpenWhisk's words.
type Docker struct {
	Host    string // of the daemon, as DOCKER_HOST has it; the environment's if empty
	Network string // "bridge"

	// ExtraArgs are the operator's container-args.extra-args: flags of docker
	// run without their dashes, each with its values. A flag replaces what the
	// platform would give itself.
	ExtraArgs map[string][]string
}

// Times that Docker's daemon gets, as OpenWhisk gives them.
const (
	dockerWait  = time.Minute
	pauseWait   = 10 * time.Second
	pullWait    = 10 * time.Minute
	dockerStart = 10 // containers at a time
)

// dockerEngine is the engine whose containers are Docker's.
type dockerEngine struct {
	p       *Platform
	cfg     *Docker
	api     *client.Client
	extra   extraArgs
	title   string // what names begin with
	host    string // of the platform's API, for containers
	mark    string // label of this platform's containers
	starts  chan struct{}
	gateway net.Listener // for containers' calls of the API; nil if there is none
	serving sync.WaitGroup
}

func newDocker(p *Platform) *dockerEngine {
	return &dockerEngine{p: p, cfg: p.cfg.Docker, starts: make(chan struct{}, dockerStart)}
}

func (d *dockerEngine) open() (err error) {
	if d.extra, err = parseExtraArgs(d.cfg.ExtraArgs); err != nil {
		return err
	}
	options := []client.Opt{client.FromEnv}
	if d.cfg.Host != "" {
		options = append(options, client.WithHost(d.cfg.Host))
	}
	if d.api, err = client.New(options...); err != nil {
		return fmt.Errorf("localwhisk: Docker: %w", err)
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	ctx, stop := context.WithTimeout(d.p.ctx, dockerWait)
	defer stop()
	if _, err := d.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("localwhisk: Docker does not answer (is its daemon running, and may this user call it?): %w", err)
	}
	// Platforms beside each other have different ports.
	_, port, _ := net.SplitHostPort(d.p.listener.Addr().String())
	d.title = "wsk" + port + "0_"
	if err := d.sweep(ctx); err != nil {
		return err
	}
	return d.reachable(ctx, port)
}

// reachable has the API listen where containers reach it: on their network's
// gateway, which is an address of this machine.
func (d *dockerEngine) reachable(ctx context.Context, port string) error {
	n, err := d.api.NetworkInspect(ctx, d.network(), client.NetworkInspectOptions{})
	if err != nil {
		return fmt.Errorf("localwhisk: Docker network %s: %w", d.network(), err)
	}
	d.host = d.p.APIHost()
	host, _, _ := net.SplitHostPort(d.p.listener.Addr().String())
	for _, c := range n.Network.IPAM.Config {
		if !c.Gateway.IsValid() {
			continue
		}
		at := net.JoinHostPort(c.Gateway.String(), port)
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			if d.gateway, err = net.Listen("tcp", at); err != nil {
				d.p.cfg.Logger.Warn().Err(err).Msg("containers can't reach the API")
				return nil
			}
		}
		d.host = "http://" + at
		return nil
	}
	return nil
}

// serve answers what containers call.
func (d *dockerEngine) serve(accept func(net.Listener) error) {
	if d.gateway != nil {
		d.serving.Go(func() { accept(d.gateway) })
	}
}

func (d *dockerEngine) close() {
	if d.gateway != nil {
		d.gateway.Close()
		d.serving.Wait()
	}
	d.api.Close()
}

func (d *dockerEngine) prefix() string  { return d.title }
func (d *dockerEngine) apiHost() string { return d.host }

func (d *dockerEngine) network() string {
	if d.cfg.Network == "" {
		return "bridge"
	}
	return d.cfg.Network
}

// ownerLabel is the label of containers that tells whose they are: the
// machine's boot, the process space, the process and when that began.
const ownerLabel = "localwhisk.owner"

// sweep removes the containers of platforms of this machine that have died.
func (d *dockerEngine) sweep(ctx context.Context) error {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it nothing else is ever ours
	space, _ := os.Readlink("/proc/self/ns/pid")
	here := strings.TrimSpace(string(boot)) + " " + space + " "
	d.mark = here + strconv.Itoa(os.Getpid()) + " " + began(os.Getpid())
	list, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", ownerLabel)})
	if err != nil {
		return fmt.Errorf("localwhisk: list Docker's containers: %w", err)
	}
	for _, c := range list.Items {
		rest, ours := strings.CutPrefix(c.Labels[ownerLabel], here)
		id, start, _ := strings.Cut(rest, " ")
		pid, err := strconv.Atoi(id)
		if !ours || err != nil || began(pid) == start {
			continue
		}
		d.p.cfg.Logger.Info().Strs("container", c.Names).Msg("remove what a platform that died has left")
		if err := d.remove(ctx, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// began is when a process began, in the kernel's words; empty if it is gone.
func began(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return ""
	}
	return f[19]
}

// remove removes a container, thawing it first as OpenWhisk does: a frozen
// process can't be killed.
func (d *dockerEngine) remove(ctx context.Context, id string) error {
	d.api.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{}) // an error: it wasn't paused
	_, err := d.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("localwhisk: remove Docker's container: %w", err)
	}
	return nil
}

// image makes sure of a container's image, by OpenWhisk's rules: one of the
// platform's is never pulled; an action's own is, every time, and where that
// fails one that is here will do unless it is the latest.
func (d *dockerEngine) image(ctx context.Context, r Runtime) error {
	if !r.Blackbox || !r.NoSentinels {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, pullWait)
	defer stop()
	pull, err := d.api.ImagePull(ctx, r.Image, client.ImagePullOptions{})
	if err == nil {
		err = pull.Wait(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	name := r.Image[strings.LastIndexByte(r.Image, '/')+1:]
	_, tag, tagged := strings.Cut(name, ":")
	if tagged && tag != "latest" {
		if _, here := d.api.ImageInspect(ctx, r.Image); here == nil {
			return nil
		}
	}
	return errors.Join(errPull{r.Image}, err)
}
