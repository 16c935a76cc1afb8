package localwhisk

import (
	"errors"
	"os/exec"
	"runtime"
)

// launcher starts processes from one thread that lives as long as the
// platform: the kernel sends a child its death signal when the thread that
// started it ends, not the process.
type launcher struct {
	starts chan launch
	done   chan struct{}
}

type launch struct {
	cmd    *exec.Cmd
	result chan error
}

func newLauncher() *launcher {
	return &launcher{starts: make(chan launch), done: make(chan struct{})}
}

func (l *launcher) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case s := <-l.starts:
			s.result <- s.cmd.Start()
		case <-l.done:
			return
		}
	}
}

func (l *launcher) start(cmd *exec.Cmd) error {
	s := launch{cmd, make(chan error, 1)}
	select {
	case l.starts <- s:
		return <-s.result
	case <-l.done:
		return errors.New("the platform is closing")
	}
}
