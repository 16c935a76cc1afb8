package localwhisk

import (
	"slices"
	"strings"
)

// ContainerInfo describes one container, for tests and status pages. No
// OpenWhisk offers this to its users; nothing that is to run on one may
// depend on it.
type ContainerInfo struct {
	Name     string // "wsk00_7_guest_hello"
	Action   string // "guest/pkg/hello"; empty: prewarmed
	Address  string // IP; empty until started
	PID      int    // of the process, which leads its group; 0 until started
	State    string // "busy" (with its start and until its completion is sent), "idle", "paused" or "prewarmed"
	MemoryMB int
}

// Containers lists the containers, in the order of their start.
func (p *Platform) Containers() []ContainerInfo {
	if p.invoker == nil {
		return nil
	}
	return p.invoker.pool.infos()
}

func (l *pool) infos() []ContainerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.containers()
	slices.SortFunc(all, func(a, b *container) int { return a.number - b.number })
	out := make([]ContainerInfo, len(all))
	for i, c := range all {
		info := ContainerInfo{Name: c.order.name, State: "busy", MemoryMB: c.memory}
		info.Action, _, _ = strings.Cut(c.action, "@")
		if b := c.started(); b != nil {
			info.PID, info.Address = b.pid(), b.ip()
		}
		switch {
		case c.paused.Load():
			info.State = "paused"
		case slices.Contains(l.idle, c):
			info.State = "idle"
		case slices.Contains(l.warm, c):
			info.State = "prewarmed"
		}
		out[i] = info
	}
	return out
}
