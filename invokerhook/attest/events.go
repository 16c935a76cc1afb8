package attest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

const (
	listenAgain = 500 * time.Millisecond // after Docker has ended the stream of events
	oomMemory   = 2 * time.Second        // how long before a container's end a lack of memory is its cause
	maxOOMs     = 1024
)

// eventLoop listens to the ends of containers for as long as ctx lasts. What happened while nobody listened
// is asked for afterwards; Docker keeps the last 256 events.
func (d *docker) eventLoop(ctx context.Context) {
	defer close(d.done)
	since := time.Now()
	ooms := map[string]time.Time{}
	for {
		err := d.listen(ctx, &since, ooms)
		if ctx.Err() != nil {
			return
		}
		d.cfg.Logger.Warn().Err(err).Msg("Docker's events have ended; listening again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}

func (d *docker) listen(ctx context.Context, since *time.Time, ooms map[string]time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := d.client.Events(ctx, client.EventsListOptions{
		Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: make(client.Filters).Add("type", string(events.ContainerEventType)).
			Add("event", string(events.ActionDie), string(events.ActionOOM)),
	})
	for {
		select {
		case m := <-r.Messages:
			*since = time.Unix(0, m.TimeNano+1)
			d.heard(ctx, m, ooms)
		case err := <-r.Err:
			if err == nil {
				err = errors.New("no reason given")
			}
			return err
		}
	}
}

func (d *docker) heard(ctx context.Context, m events.Message, ooms map[string]time.Time) {
	at := time.Unix(0, m.TimeNano)
	switch m.Action {
	case events.ActionOOM:
		for id := range ooms {
			if len(ooms) < maxOOMs {
				break
			}
			delete(ooms, id)
		}
		ooms[m.Actor.ID] = at
		if d.cfg.OOM != nil {
			d.cfg.OOM(m.Actor.ID)
		}
	case events.ActionDie:
		last, heard := ooms[m.Actor.ID]
		delete(ooms, m.Actor.ID)
		oom := heard && at.Sub(last) <= oomMemory
		if !heard {
			oom = d.noted(ctx, m)
		}
		if d.cfg.Dead != nil {
			d.cfg.Dead(m.Actor.ID, cause(m, oom))
		}
	}
}

// noted says whether Docker has noted a lack of memory that it sent no event of. It keeps the note of one that
// the container has survived, so it is asked only then.
func (d *docker) noted(ctx context.Context, m events.Message) bool {
	if m.Actor.Attributes["exitCode"] != "137" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := d.client.ContainerInspect(ctx, m.Actor.ID, client.ContainerInspectOptions{})
	return err == nil && r.Container.State != nil && r.Container.State.OOMKilled
}

// cause is what Docker says of a container's end, in words.
func cause(m events.Message, oom bool) string {
	text := fmt.Sprintf("container %s has ended", m.Actor.Attributes["name"])
	if oom {
		text += ": " + OOMKilled
	}
	return fmt.Sprintf("%s (exit code %s)", text, m.Actor.Attributes["exitCode"])
}
