package compile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	maxCached = 64                    // binaries
	lockPoll  = 20 * time.Millisecond // between two looks at another build of the same code
)

// cacheDir is the user's cache folder, as os.UserCacheDir has it, of another environment.
func cacheDir(environ []string) (string, bool) {
	if dir := lookup(environ, "XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return dir, true
	}
	home := lookup(environ, "HOME")
	return filepath.Join(home, ".cache"), filepath.IsAbs(home)
}

// cached puts a binary of the code in src at to: an earlier one of the same code, or the one that build
// makes with tool. Of several proxies that want the same, one builds and the others wait for it. The locks are as many as a key's
// first two digits can be, so that they need no clearing.
func cached(ctx context.Context, environ []string, src, tool, to string, build func(ctx context.Context, to string) error) error {
	dir, ok := cacheDir(environ)
	if ok {
		dir = filepath.Join(dir, "weft", "built")
		ok = os.MkdirAll(dir, 0o755) == nil
	}
	if !ok {
		return build(ctx, to) // no home, or one that can't be written: it only takes longer
	}
	key, err := keyOf(src, tool)
	if err != nil {
		return err
	}
	kept := filepath.Join(dir, key)
	if reuse(kept, to) == nil {
		return nil
	}
	unlock, err := lock(ctx, filepath.Join(dir, key[:2]+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if reuse(kept, to) == nil {
		return nil
	}
	if err := build(ctx, to); err != nil {
		return err
	}
	if copyFile(to, kept+".new") == nil && os.Rename(kept+".new", kept) == nil {
		prune(dir)
	}
	return nil
}

// reuse copies a binary out of the cache and marks it as used. A copy: the action may write to its own.
func reuse(kept, to string) error {
	if err := copyFile(kept, to); err != nil {
		return err
	}
	now := time.Now()
	_ = os.Chtimes(kept, now, now) // at worst it is built again some day
	return nil
}

// copyFile copies an executable. No process is forked meanwhile: it would have the copy open for writing
// until its own exec, and the system starts no file that somebody can write to.
func copyFile(from, to string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// keyOf names what the code, with the SDK beside it, becomes with this compiler.
func keyOf(src, tool string) (string, error) {
	h := sha256.New()
	if real, err := filepath.EvalSymlinks(tool); err == nil {
		tool = real
	}
	if s, err := os.Stat(tool); err == nil {
		fmt.Fprintln(h, tool, s.Size(), s.ModTime().UnixNano())
	}
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			fmt.Fprintf(h, "%q %d\n", path[len(src):], len(b))
			h.Write(b)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the action's files: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// lock waits for a file's lock, which ends with the process that has it.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock compiler cache: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock compiler cache: %w", err)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another build of the same code: %w", context.Cause(ctx))
		}
	}
}

// prune removes the binaries that have not been used for the longest time.
func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var binaries []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == "" {
			binaries = append(binaries, info)
		}
	}
	slices.SortFunc(binaries, func(a, b fs.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	for i := maxCached; i < len(binaries); i++ {
		_ = os.Remove(filepath.Join(dir, binaries[i].Name())) // another proxy may have done it
	}
}
