package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// User makes a user number of a text for Config.User: 0, which means no change, where the text is empty, or
// where this process can't make processes of other users: it isn't root, or the container's user space
// hasn't that user.
func User(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	uid, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("user of functions %q: want a number", text)
	}
	if !mayBecome(uid, "/proc/self/uid_map") || !mayBecome(uid, "/proc/self/gid_map") || !hasCapabilities(6, 7) {
		return 0, nil
	}
	return int(uid), nil
}

// mayBecome tells whether a user space has a number. Its lines: first inside, first outside, count.
func mayBecome(id uint64, file string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		var inside, outside, count uint64
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && id >= inside && id-inside < count {
			return true
		}
	}
	return false
}

// hasCapabilities tells whether the kernel lets this process do what the numbered capabilities stand for:
// 6 is setgid, 7 setuid.
func hasCapabilities(numbers ...int) bool {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), "\nCapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	for _, n := range numbers {
		if set&(1<<n) == 0 {
			return false
		}
	}
	return err == nil
}

// credential is the user that a process is started as; nil for ours.
func (c Config) credential() *syscall.Credential {
	if c.User == 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(c.User), Gid: uint32(c.User)}
}

// Give makes files and folders, with all in them, those of the process's user.
func (c Config) Give(paths ...string) error {
	if c.User == 0 {
		return nil
	}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(name, c.User, c.User)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give the function its files: %w", err)
		}
	}
	return nil
}

// Give is that of the process's Config.
func (p *Process) Give(paths ...string) error { return p.config.Give(paths...) }
