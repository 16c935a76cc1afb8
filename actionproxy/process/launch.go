package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is asked for where lines go through, in bytes: the system's usual limit.
const pipeSize = 1 << 20

// pipes are the four ways between us and a process.
type pipes struct{ ours, theirs [4]*os.File }

func openPipes() (*pipes, error) {
	p := &pipes{}
	for i := range p.ours {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("make pipes for the function: %w", err)
		}
		if i == 0 {
			p.ours[i], p.theirs[i] = w, r
		} else {
			p.ours[i], p.theirs[i] = r, w
		}
	}
	for _, i := range []int{0, 3} { // fewer wakes for long lines; the usual size does as well
		if raw, err := p.ours[i].SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
		}
	}
	return p, nil
}

// give lets a process of another user open its ends again, as /dev/stdout or /dev/fd/3.
func (p *pipes) give(c Config) error {
	for _, f := range p.theirs {
		if c.User == 0 {
			break
		}
		if err := f.Chown(c.User, c.User); err != nil {
			return fmt.Errorf("give the function its pipes: %w", err)
		}
	}
	return nil
}

func (p *pipes) close() {
	for i := range p.ours {
		p.ours[i].Close() // of nil is an error and nothing else
		p.theirs[i].Close()
	}
}

// launch starts the process and the goroutines that belong to it; they end with it.
func launch(c Config) (*Process, error) {
	files, err := openPipes()
	if err != nil {
		return nil, err
	}
	if err := files.give(c); err != nil {
		files.close()
		return nil, err
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would hand over our own
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.theirs[0], files.theirs[1], files.theirs[2]
	cmd.ExtraFiles = files.theirs[3:]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.credential()}
	p := &Process{cmd: cmd, config: c, input: files.ours[0], results: newResults(files.ours[3]),
		turn: make(chan struct{}, 1), done: make(chan struct{})}
	if p.stdout, err = newOutput(files.ours[1], c.Stdout); err == nil {
		p.stderr, err = newOutput(files.ours[2], c.Stderr)
	}
	if err == nil {
		started := make(chan error)
		go p.waitLoop(started)
		err = <-started
	}
	if err != nil {
		files.close()
		return nil, fmt.Errorf("start function: %w", err)
	}
	for _, f := range files.theirs {
		f.Close()
	}
	go p.stdout.loop()
	go p.stderr.loop()
	return p, nil
}

// usualSlack is the timer slack of Linux processes in ns, which a child has from the thread that starts it.
const usualSlack = 50_000

// waitLoop starts the process and stays with it. Both on one thread: the kernel sends the death signal
// of a child when the thread that started it ends, not the process.
func (p *Process) waitLoop(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, usualSlack, 0, 0, 0)
	err := p.cmd.Start()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(ours), 0, 0, 0)
	started <- err
	if err != nil {
		return
	}
	for {
		// The process stays a zombie for now: its id can't be given to another group meanwhile.
		err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.reap()
	p.Drain()
	close(p.done)
	p.results.pipe.SetReadDeadline(time.Now().Add(linger)) // only felt where a grandchild holds the pipe open
	<-p.turn
	for _, f := range []*os.File{p.input, p.results.pipe, p.stdout.pipe, p.stderr.pipe} {
		f.Close()
	}
}

// reap ends what the process has left behind in its group, and takes its exit status.
func (p *Process) reap() {
	p.group.Lock()
	defer p.group.Unlock()
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // the zombie itself doesn't mind
	_ = p.cmd.Wait()                            // the status is read from ProcessState
	p.reaped = true
}

// ExitStatus says how the process ended, for instance "exit status 3" or "signal: killed"; empty while
// it runs.
func (p *Process) ExitStatus() string {
	select {
	case <-p.done:
		return p.cmd.ProcessState.String()
	default:
		return ""
	}
}

// ExitReason is ExitStatus with the last words of the process's standard error.
func (p *Process) ExitReason() string {
	reason := p.ExitStatus()
	if words := p.stderr.lastWords(); reason != "" && words != "" {
		reason += ": " + words
	}
	return reason
}

// Kill ends the process and its group at once. Done tells when that has happened.
func (p *Process) Kill() {
	p.group.Lock()
	defer p.group.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // gone already is what we want
	}
}

// Close ends the process's input, kills it if it is still there after a second, and returns when it
// is reaped.
func (p *Process) Close() {
	p.input.Close() // an Exchange under way fails
	_ = p.ended()   // says that it has ended, which is what we want
}
