// Package attest finds out who is at the other end of a connection: not what a caller says of itself,
// but what the kernel and Docker say of it.
//
//	connection ─► Caller (the kernel's word: pid, user, container id, or a source address)
//	           ─► Fact   (Docker's word: the container's name, addresses, first process)
//
// On a Unix socket the kernel names the process that has connected; a pidfd holds on to it, so that its
// number can't be another's by the time it is looked at. Its cgroup names the container, or, where that
// doesn't tell, the files that Docker mounts into every container; when these differ, nobody is believed.
// Over TCP the source address names the container. A container that Docker doesn't know is refused.
package attest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// ErrRefused is in every error that means: don't trust this caller.
var ErrRefused = errors.New("attestation refused")

// DefaultDocker is where Docker listens.
const DefaultDocker = "unix:///var/run/docker.sock"

// Kind of a caller.
type Kind string

// The kinds.
const (
	Container Kind = "container" // one that Docker knows
	Process   Kind = "process"   // a process beside the hook, of the embedded platform
)

// OOMKilled is in the cause of an end that was for the container's memory.
const OOMKilled = "OOM killed"

// Config of an Attestor.
type Config struct {
	// Docker is the daemon's address, as in DOCKER_HOST; "" for none.
	Docker string
	// Processes accepts processes beside the hook, of the hook's own user or root, as the embedded
	// platform's containers are.
	Processes bool
	// Dead is called, from one goroutine, with the container ids whose end Docker tells, and why.
	Dead func(id, reason string)
	// OOM is called, from the same goroutine, when a process of a container was killed for its memory.
	OOM func(id string)
	// Logger gets what nobody is there to be told.
	Logger zerolog.Logger
}

// Caller is the kernel's word on the other end of a connection. Close it, or attest it.
type Caller struct {
	// PID is the process that has connected, in the hook's own count; 0 over TCP.
	PID int
	// UID is its user.
	UID uint32
	// ContainerID has 64 hexadecimal digits; "" beside the hook and over TCP.
	ContainerID string
	// Remote is the source address over TCP.
	Remote netip.Addr

	at time.Time

	mu      sync.Mutex
	process *Held // nil: taken, or closed
}

// Fact is an attested caller.
type Fact struct {
	Kind Kind
	// ContainerID, Name (Docker's, without the slash) and Addrs are a container's.
	ContainerID string
	Name        string
	Addrs       []netip.Addr
	// PID is the process that has connected; over TCP its container's first one.
	PID int
	// Remote says that it has connected over TCP.
	Remote bool
	// Process is that process, to wait for its end; nil where it can't be held. Its owner closes it.
	Process *Held
}

// Key names the caller for as long as it lives, and nobody else ever: the same after a restart of the hook.
func (f *Fact) Key() string {
	switch {
	case f.Kind == Container:
		return "container:" + f.ContainerID
	case f.Process != nil:
		return fmt.Sprintf("process:%d@%d", f.PID, f.Process.started)
	}
	return "loopback"
}

// Addr is what others may be told of the address that the caller claims to listen at: the claim's port,
// at an address that is the caller's own. A claim of another's address is refused.
func (f *Fact) Addr(claim string) (string, error) {
	at, err := netip.ParseAddrPort(claim)
	if err != nil || at.Port() == 0 {
		return "", fmt.Errorf("%w: %.60q is no address to be reached at", ErrRefused, claim)
	}
	ip := at.Addr().Unmap()
	if f.Kind == Process {
		if !ownAddr(ip) {
			return "", fmt.Errorf("%w: a process of this host can't be reached at %s", ErrRefused, ip)
		}
		return netip.AddrPortFrom(ip, at.Port()).String(), nil
	}
	for _, a := range f.Addrs {
		if a == ip || ip.IsUnspecified() {
			return netip.AddrPortFrom(a, at.Port()).String(), nil
		}
	}
	return "", fmt.Errorf("%w: container %s has not the address %s", ErrRefused, f.Name, ip)
}

// ownAddr says whether the address is this host's.
func ownAddr(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}

// Attestor is one host's.
type Attestor struct {
	cfg    Config
	docker *docker // nil: none
	self   place   // to tell what is beside us from what is in a container
}

// New checks the configuration, and that Docker answers if there is one. Close ends what it starts.
func New(ctx context.Context, cfg Config) (*Attestor, error) {
	if cfg.Docker == "" && !cfg.Processes {
		return nil, errors.New("attest: without Docker nobody can be attested: name its address, or accept processes (embedded platform)")
	}
	self, err := placeOf("self")
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	a := &Attestor{cfg: cfg, self: self}
	if cfg.Docker != "" {
		if a.docker, err = openDocker(ctx, cfg); err != nil {
			return nil, fmt.Errorf("attest: %w", err)
		}
	}
	return a, nil
}

// Close ends the listening to Docker and waits for it.
func (a *Attestor) Close() {
	if a.docker != nil {
		a.docker.close()
	}
}

// Caller asks the kernel. It blocks no longer than reading a few files of /proc does.
func (a *Attestor) Caller(nc net.Conn) (*Caller, error) {
	c := &Caller{at: time.Now()}
	if uc, ok := nc.(*net.UnixConn); ok {
		return c, a.fromSocket(c, uc)
	}
	remote, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("%w: the connection comes from %s", ErrRefused, nc.RemoteAddr())
	}
	c.Remote = remote.Addr().Unmap()
	return c, nil
}

func (a *Attestor) fromSocket(c *Caller, uc *net.UnixConn) error {
	h, uid, err := holdPeer(uc)
	if err != nil {
		return err
	}
	c.PID, c.UID, c.process = h.PID, uid, h
	p, err := placeOf(strconv.Itoa(h.PID))
	if err == nil && h.exited() {
		err = errors.New("it has ended meanwhile")
	}
	if err == nil {
		c.ContainerID, err = containerID(a.self, p)
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("%w: process %d: %w", ErrRefused, h.PID, err)
	}
	return nil
}

func placeOf(pid string) (place, error) {
	cgroup, err := os.ReadFile("/proc/" + pid + "/cgroup")
	mountinfo, merr := os.ReadFile("/proc/" + pid + "/mountinfo")
	return place{string(cgroup), string(mountinfo)}, errors.Join(err, merr)
}

// Close lets go of the process.
func (c *Caller) Close() {
	if h := c.take(); h != nil {
		h.Close()
	}
}

func (c *Caller) take() *Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.process
	c.process = nil
	return h
}

// Attest makes a fact of a caller, which is used up. For one in a container it asks Docker.
func (a *Attestor) Attest(ctx context.Context, c *Caller) (*Fact, error) {
	h := c.take()
	f, err := a.attest(ctx, c)
	switch {
	case err == nil && c.PID != 0 && (h == nil || h.exited()):
		err = fmt.Errorf("%w: process %d has ended meanwhile", ErrRefused, c.PID)
	case err == nil && f.Process == nil:
		f.Process = h
		return f, nil
	case err == nil:
		return f, nil
	}
	if h != nil {
		h.Close()
	}
	return nil, err
}

func (a *Attestor) attest(ctx context.Context, c *Caller) (*Fact, error) {
	switch {
	case c.ContainerID != "" && a.docker == nil:
		return nil, fmt.Errorf("%w: the caller is in container %.12s, and this hook has no Docker to ask about it", ErrRefused, c.ContainerID)
	case c.ContainerID != "":
		return a.docker.fact(ctx, c)
	case c.PID != 0 && !a.cfg.Processes:
		return nil, fmt.Errorf("%w: process %d is in no container", ErrRefused, c.PID)
	case c.PID != 0 && c.UID != 0 && c.UID != uint32(os.Geteuid()):
		return nil, fmt.Errorf("%w: process %d is of user %d", ErrRefused, c.PID, c.UID)
	case c.PID != 0:
		return &Fact{Kind: Process, PID: c.PID}, nil
	}
	if a.docker != nil {
		f, err := a.docker.factAt(ctx, c)
		if f != nil || err != nil {
			return f, err
		}
	}
	if a.cfg.Processes && c.Remote.IsLoopback() {
		return &Fact{Kind: Process, Remote: true}, nil
	}
	return nil, fmt.Errorf("%w: no container has the address %s", ErrRefused, c.Remote)
}

// Close lets go of the process.
func (f *Fact) Close() {
	if f.Process != nil {
		f.Process.Close()
	}
}
