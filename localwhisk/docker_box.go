package localwhisk

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	dockertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// dockerBox is one of Docker's containers.
type dockerBox struct {
	engine *dockerEngine
	order  order
	id     string
	addr   netip.Addr
	first  int // its first process
	lines  *logFile
	done   chan struct{}
	wait   sync.WaitGroup
	stop   context.CancelFunc // ends waitLoop
}

// start is docker run with the arguments that OpenWhisk gives it.
func (d *dockerEngine) start(o order) (_ box, err error) {
	select {
	case d.starts <- struct{}{}:
		defer func() { <-d.starts }()
	case <-d.p.ctx.Done():
		return nil, d.p.ctx.Err()
	}
	if err := d.image(d.p.ctx, o.runtime); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(d.p.ctx, dockerWait)
	defer stop()
	made, err := d.api.ContainerCreate(ctx, d.arguments(o))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.discard(made.ID, o)
		}
	}()
	if _, err := d.api.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		return nil, err
	}
	seen, err := d.api.ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{})
	if err != nil {
		return nil, err
	}
	c := seen.Container
	n := c.NetworkSettings.Networks[d.network()]
	if n == nil || !n.IPAddress.IsValid() {
		return nil, fmt.Errorf("it has no address in Docker's network %s; its last state is %q", d.network(), c.State.Status)
	}
	life, end := context.WithCancel(context.Background())
	b := &dockerBox{engine: d, order: o, id: made.ID, addr: n.IPAddress, first: c.State.Pid, lines: openLogFile(c.LogPath),
		done: make(chan struct{}), stop: end}
	b.wait.Go(func() { b.waitLoop(life) })
	return b, nil
}

// discard removes what is of no use, also when the platform ends.
func (d *dockerEngine) discard(id string, o order) {
	ctx, stop := context.WithTimeout(context.Background(), dockerWait)
	defer stop()
	if err := d.remove(ctx, id); err != nil {
		o.log.Error().Err(err).Msg("remove the container")
	}
}

// waitLoop sees the container end.
func (b *dockerBox) waitLoop(ctx context.Context) {
	defer close(b.done)
	for {
		w := b.engine.api.ContainerWait(ctx, b.id, client.ContainerWaitOptions{Condition: dockertypes.WaitConditionNotRunning})
		select {
		case <-w.Result:
			return
		case err := <-w.Error:
			if ctx.Err() != nil || errdefs.IsNotFound(err) {
				return
			}
		}
		select { // the daemon was away
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

func (b *dockerBox) ip() string              { return b.addr.String() }
func (b *dockerBox) pid() int                { return b.first }
func (b *dockerBox) exited() <-chan struct{} { return b.done }
func (b *dockerBox) output() logSource       { return b.lines }

// exhausted waits for Docker's word on how the container has ended, for as
// long as OpenWhisk does.
func (b *dockerBox) exhausted() bool {
	ctx, stop := context.WithTimeout(b.engine.p.ctx, 2*time.Second)
	defer stop()
	select {
	case <-b.done:
	case <-ctx.Done():
		return false
	}
	seen, err := b.engine.api.ContainerInspect(ctx, b.id, client.ContainerInspectOptions{})
	return err == nil && seen.Container.State.OOMKilled
}

func (b *dockerBox) pause() error {
	ctx, stop := context.WithTimeout(b.engine.p.ctx, pauseWait)
	defer stop()
	_, err := b.engine.api.ContainerPause(ctx, b.id, client.ContainerPauseOptions{})
	return err
}

func (b *dockerBox) resume() error {
	ctx, stop := context.WithTimeout(b.engine.p.ctx, pauseWait)
	defer stop()
	_, err := b.engine.api.ContainerUnpause(ctx, b.id, client.ContainerUnpauseOptions{})
	return err
}

func (b *dockerBox) remove() {
	b.engine.discard(b.id, b.order)
	b.stop()
	b.wait.Wait()
	b.lines.close()
}
