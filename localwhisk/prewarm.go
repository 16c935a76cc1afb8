package localwhisk

import "slices"

// prewarm starts containers of a kind ahead, up to the runtime's number and
// as memory allows; the lock is held.
func (l *pool) prewarm(kind string) {
	r := l.p.cfg.Runtimes[kind]
	have := 0
	for c := range l.all {
		if c.action == "" && c.order.runtime.Kind == r.Kind {
			have++
		}
	}
	for ; have < r.Prewarm && l.free >= l.p.cfg.Limits.StdMemory; have++ {
		l.count++
		c := l.p.newContainer(l.count, "prewarm_"+plain(kind), r, l.p.cfg.Limits.StdMemory, false)
		l.free -= c.memory
		l.all[c] = struct{}{}
		l.tasks.Go(func() { l.startPrewarmed(c) })
	}
}

func (l *pool) startPrewarmed(c *container) {
	err := c.start()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		return
	case err != nil:
		l.p.cfg.Logger.Error().Err(err).Msg("prewarm a container")
		l.leave(c)
	default:
		l.warm = append(l.warm, c)
		l.pump()
	}
}

// takePrewarmed binds a prewarmed container of the job's kind and memory to
// its action and starts another in its place; the lock is held.
func (l *pool) takePrewarmed(j *job) *container {
	kind := j.action.exec.Kind
	if j.action.limits.Memory != l.p.cfg.Limits.StdMemory {
		return nil
	}
	i := slices.IndexFunc(l.warm, func(c *container) bool { return c.order.runtime.Kind == l.p.cfg.Runtimes[kind].Kind })
	if i < 0 {
		return nil
	}
	c := l.warm[i]
	l.warm = slices.Delete(l.warm, i, i+1)
	c.action = j.key()
	c.output().setOff(j.action.limits.Logs == 0)
	l.prewarm(kind)
	return c
}
