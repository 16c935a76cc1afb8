package invokerhook

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/weft-stream/weft/internal/control"
)

// listen opens one address. A Unix socket left by a hook that was killed is replaced; one that
// somebody listens on is not.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	network, address, err := control.Address(addr)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if err := removeStale(ctx, address); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if network == "unix" {
		// Containers' users differ; who may say what is decided by leases and keys, not by this mode.
		if err := os.Chmod(address, 0o666); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("open %s to containers: %w", address, err)
		}
	}
	return l, nil
}

// shares are the other files in the folder of a Unix socket. Containers are given the folder, since a socket
// mounted alone would stay that of a hook that has ended: whatever else is in it, every tenant has.
func shares(addr string) []string {
	network, path, err := control.Address(addr)
	if err != nil || network != "unix" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			out = append(out, e.Name())
		}
	}
	return out
}

func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is no socket: remove it or choose another path", path)
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return fmt.Errorf("another hook listens on %s", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a hook that is gone: %w", err)
	}
	return nil
}
