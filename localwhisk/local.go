package localwhisk

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// local is the engine whose containers are processes of this machine, each
// with a group, an address and a working directory of its own.
type local struct {
	p        *Platform
	launcher *launcher
	loops    sync.WaitGroup // launcher and memory watch

	mu    sync.Mutex
	boxes map[*localBox]struct{} // those that the memory watch looks at
}

func newLocal(p *Platform) *local {
	return &local{p: p, launcher: newLauncher(), boxes: map[*localBox]struct{}{}}
}

func (l *local) open() error {
	l.loops.Go(l.launcher.loop)
	l.loops.Go(l.memoryLoop)
	return nil
}

func (l *local) close() {
	close(l.launcher.done)
	l.loops.Wait()
}

func (l *local) prefix() string                 { return "wsk00_" }
func (l *local) serve(func(net.Listener) error) {}
func (l *local) apiHost() string                { return l.p.APIHost() }

// localBox is a process and what descends from it.
type localBox struct {
	engine  *local
	order   order
	lines   *logBuffer
	address *address
	dir     string
	cmd     *exec.Cmd
	pipes   []*os.File
	readers sync.WaitGroup
	frozen  []int         // processes, while paused
	stopped atomic.Bool   // paused
	oom     atomic.Bool   // killed for its memory
	ended   atomic.Bool   // the process is no more, its id about to be free
	reaped  chan struct{} // closed when it is reaped
}

func (l *local) start(o order) (box, error) {
	a, err := takeAddress()
	if err != nil {
		return nil, err
	}
	b := &localBox{engine: l, order: o, address: a, reaped: make(chan struct{}),
		lines: newLogBuffer(o.logsOff, o.log)}
	b.dir = filepath.Join(l.p.dir, b.order.name)
	if err := b.launch(); err != nil {
		b.closePipes()
		b.readers.Wait()
		a.release()
		os.RemoveAll(b.dir)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.boxes[b] = struct{}{}
	return b, nil
}

func (b *localBox) launch() error {
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		return err
	}
	command := b.order.runtime.Command
	args := make([]string, len(command))
	for i, a := range command {
		args[i] = strings.ReplaceAll(a, "{address}", b.address.ip)
	}
	if strings.Contains(args[0], "/") { // else it would be looked for in the container's directory
		var err error
		if args[0], err = filepath.Abs(args[0]); err != nil {
			return err
		}
	}
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.Dir, b.cmd.Env = b.dir, b.engine.p.environment(b.order)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	var ends []*os.File
	for _, stream := range []string{"stdout", "stderr"} {
		r, w, perr := os.Pipe()
		if perr != nil {
			err = perr
			break
		}
		b.pipes, ends = append(b.pipes, r), append(ends, w)
		b.readers.Go(func() { b.lines.readLoop(r, stream) })
	}
	if err == nil {
		b.cmd.Stdout, b.cmd.Stderr = ends[0], ends[1]
		err = b.engine.launcher.start(b.cmd)
	}
	for _, w := range ends {
		w.Close()
	}
	if err == nil {
		b.readers.Go(b.waitLoop)
	}
	return err
}

// environment is a container's: the runtime's, what the platform adds, the
// operator's.
func (p *Platform) environment(o order) []string {
	var env []string
	for _, kv := range o.runtime.Env {
		env = append(env, strings.ReplaceAll(kv, "{memory}", strconv.Itoa(o.memory)))
	}
	env = append(env, "__OW_API_HOST="+p.engine.apiHost())
	return append(env, p.cfg.ExtraEnv...)
}

// waitLoop sees the first process end, and with it the container: what is left
// in its group goes too, before the process id can be anyone else's.
func (b *localBox) waitLoop() {
	for unix.Waitid(unix.P_PID, b.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	b.ended.Store(true)
	syscall.Kill(-b.pid(), syscall.SIGKILL)
	b.cmd.Wait()
	close(b.reaped)
}

func (b *localBox) ip() string              { return b.address.ip }
func (b *localBox) pid() int                { return b.cmd.Process.Pid }
func (b *localBox) exited() <-chan struct{} { return b.reaped }
func (b *localBox) output() logSource       { return b.lines }
func (b *localBox) exhausted() bool         { return b.oom.Load() }

func (b *localBox) remove() {
	b.kill() // also what is stopped
	<-b.reaped
	b.closePipes()
	b.readers.Wait()
	b.address.release()
	os.RemoveAll(b.dir)
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	delete(b.engine.boxes, b)
}

// closePipes ends the readers even where a process outside the group still
// holds the other end.
func (b *localBox) closePipes() {
	for _, r := range b.pipes {
		r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}
}
