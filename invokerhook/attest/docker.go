package attest

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// askTimeout bounds a question to Docker.
const askTimeout = 10 * time.Second

// docker is the daemon beside the hook.
type docker struct {
	cfg    Config
	client *client.Client
	stop   context.CancelFunc
	done   chan struct{} // closed when eventLoop has ended
}

func openDocker(ctx context.Context, cfg Config) (*docker, error) {
	c, err := client.New(client.WithHost(cfg.Docker))
	if err != nil {
		return nil, fmt.Errorf("docker at %s: %w", cfg.Docker, err)
	}
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := c.Ping(ask, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("docker at %s: %w", cfg.Docker, err)
	}
	d := &docker{cfg: cfg, client: c, done: make(chan struct{})}
	life, stop := context.WithCancel(context.Background())
	d.stop = stop
	go d.eventLoop(life)
	return d, nil
}

func (d *docker) close() {
	d.stop()
	<-d.done
	_ = d.client.Close() // idle connections
}

// fact is Docker's word on a caller that the kernel has found in a container.
func (d *docker) fact(ctx context.Context, c *Caller) (*Fact, error) {
	i, err := d.inspect(ctx, c.ContainerID, c.at)
	if err != nil {
		return nil, err
	}
	// A function may run beside its proxy, as another user: it is not whom Docker has started.
	uid, err := userOf(i.State.Pid)
	if err != nil {
		return nil, fmt.Errorf("%w: the first process of container %s: %w", ErrRefused, i.Name, err)
	}
	if uid != c.UID {
		return nil, fmt.Errorf("%w: process %d is of user %d, and container %s of user %d", ErrRefused, c.PID, c.UID, i.Name, uid)
	}
	return factOf(i, c.PID), nil
}

// factAt is Docker's word on who has the source address of a connection; nil for none of its containers.
func (d *docker) factAt(ctx context.Context, c *Caller) (*Fact, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all, err := d.client.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask Docker who has the address %s: %w", c.Remote, err)
	}
	id := ""
	for _, s := range all.Items {
		if s.NetworkSettings == nil {
			continue
		}
		for _, n := range s.NetworkSettings.Networks {
			if n == nil || n.IPAddress.Unmap() != c.Remote && n.GlobalIPv6Address != c.Remote {
				continue
			}
			if id != "" && id != s.ID {
				return nil, fmt.Errorf("%w: containers %.12s and %.12s both have the address %s", ErrRefused, id, s.ID, c.Remote)
			}
			id = s.ID
		}
	}
	if id == "" {
		return nil, nil
	}
	i, err := d.inspect(ctx, id, c.at)
	if err != nil {
		return nil, err
	}
	h, err := hold(i.State.Pid)
	if err != nil {
		return nil, fmt.Errorf("%w: the first process of container %s: %w", ErrRefused, i.Name, err)
	}
	f := factOf(i, i.State.Pid)
	f.Process, f.Remote = h, true
	// The number was Docker's when it was asked, and it still is: so it was in between.
	again, err := d.inspect(ctx, id, c.at)
	if err != nil || again.State.Pid != i.State.Pid || h.exited() {
		h.Close()
		return nil, fmt.Errorf("%w: container %s has ended meanwhile", ErrRefused, i.Name)
	}
	return f, nil
}

// inspect asks for a container that runs and did so when the connection came: an address, or a name, may
// have been another's before.
func (d *docker) inspect(ctx context.Context, id string, at time.Time) (*container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w: Docker knows no container %.12s", ErrRefused, id)
	}
	if err != nil {
		return nil, fmt.Errorf("ask Docker about container %.12s: %w", id, err)
	}
	i := &r.Container
	i.Name = strings.TrimPrefix(i.Name, "/")
	switch {
	case i.ID != id:
		return nil, fmt.Errorf("%w: Docker says %.12s of container %.12s", ErrRefused, i.ID, id)
	case i.State == nil || !i.State.Running || i.State.Pid <= 0:
		return nil, fmt.Errorf("%w: container %s doesn't run", ErrRefused, i.Name)
	}
	started, err := time.Parse(time.RFC3339Nano, i.State.StartedAt)
	if err != nil || started.After(at) {
		return nil, fmt.Errorf("%w: container %s has started after the connection came", ErrRefused, i.Name)
	}
	return i, nil
}

func factOf(i *container.InspectResponse, pid int) *Fact {
	f := &Fact{Kind: Container, ContainerID: i.ID, Name: i.Name, PID: pid}
	if i.NetworkSettings == nil {
		return f
	}
	for _, n := range i.NetworkSettings.Networks {
		for _, a := range []netip.Addr{n.IPAddress.Unmap(), n.GlobalIPv6Address} {
			if a.IsValid() && !a.IsUnspecified() {
				f.Addrs = append(f.Addrs, a)
			}
		}
	}
	return f
}

// userOf is the effective user of a process.
func userOf(pid int) (uint32, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("\nUid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 2 {
		return 0, fmt.Errorf("its user is not told")
	}
	uid, err := strconv.ParseUint(string(f[1]), 10, 32)
	return uint32(uid), err
}
