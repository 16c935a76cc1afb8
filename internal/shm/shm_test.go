package shm_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/internal/shm"
)

const size = 64 << 10

// childEnv makes the test's own binary the other process; its value says as what.
const childEnv = "WEFT_SHM_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "limited":
		limited()
	}
}

func create(t testing.TB, size int) *os.File {
	t.Helper()
	f, err := shm.Create("test", size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mapped(t testing.TB, f *os.File) *shm.Memory {
	t.Helper()
	m, err := shm.Map(f, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestTwoMappingsAreOneMemory(t *testing.T) {
	f := create(t, size)
	a, b := mapped(t, f), mapped(t, f)
	a.Word64(4096).Store(7)
	if got := b.Word64(4096).Load(); got != 7 {
		t.Errorf("the other mapping has %d", got)
	}
	for i, c := range a.Bytes()[8192:] {
		if c != 0 {
			t.Fatalf("byte %d of new memory is %d", i, c)
		}
	}
}

// TestSizeIsSealed: finding 2 of a peer that truncates what others have mapped.
func TestSizeIsSealed(t *testing.T) {
	f := create(t, size)
	for name, attack := range map[string]func() error{
		"shrink": func() error { return f.Truncate(0) },
		"grow":   func() error { return f.Truncate(2 * size) },
		"seal": func() error {
			_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
			return err
		},
	} {
		if err := attack(); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", name, err)
		}
	}
}

func TestMapRefuses(t *testing.T) {
	memfd := func(flags int, bytes int64, seals int) *os.File {
		fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|flags)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "x")
		t.Cleanup(func() { f.Close() })
		if err := f.Truncate(bytes); err != nil {
			t.Fatal(err)
		}
		if seals != 0 {
			if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
				t.Fatal(err)
			}
		}
		return f
	}
	const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	plain, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	a, b, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer shm.CloseAll([]*os.File{a, b})
	for name, f := range map[string]*os.File{
		"a file on disk":        plain,
		"a socket":              a,
		"without seals":         memfd(unix.MFD_ALLOW_SEALING, size, 0),
		"that could shrink":     memfd(unix.MFD_ALLOW_SEALING, size, unix.F_SEAL_GROW|unix.F_SEAL_SEAL),
		"sealed, but sparse":    memfd(unix.MFD_ALLOW_SEALING, size, sealed),
		"smaller than it ought": create(t, size/2),
		"larger":                create(t, 2*size),
	} {
		if m, err := shm.Map(f, size); !errors.Is(err, shm.ErrFile) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// TestNoMemoryIsAnError: finding 3, in a process that may not make files so large.
func TestNoMemoryIsAnError(t *testing.T) {
	out, err := child("limited").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "allocate 1048576 bytes") {
		t.Errorf("%v: %s", err, out)
	}
}

func limited() {
	limit := unix.Rlimit{Cur: size, Max: size}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, err := shm.Create("large", 1<<20)
	fmt.Println(err)
}

func child(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	return cmd
}

func sockets(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fa, fb, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = shm.Conn(fa); err != nil {
		t.Fatal(err)
	}
	if b, err = shm.Conn(fb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestFilesTravel(t *testing.T) {
	a, b := sockets(t)
	f := create(t, size)
	mapped(t, f).Word64(0).Store(42)
	if n, err := shm.Write(a, []byte("message"), []*os.File{f, f}); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	a.Close()
	r := shm.NewReader(b)
	defer r.Close()
	text, err := io.ReadAll(r)
	if string(text) != "message" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	if _, err := r.Take(1); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("one of two: %v", err)
	}
	files, err := r.Take(2)
	if err != nil {
		t.Fatal(err)
	}
	defer shm.CloseAll(files)
	if got := mapped(t, files[1]).Word64(0).Load(); got != 42 {
		t.Errorf("the memory that came has %d", got)
	}
	flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a received descriptor is inherited by children: %v", err)
	}
}

// TestUnwantedFiles: a peer can't fill this process's table of descriptors.
func TestUnwantedFiles(t *testing.T) {
	a, b := sockets(t)
	before := descriptors(t)
	f := create(t, size)
	many := make([]*os.File, shm.MaxFiles)
	for i := range many {
		many[i] = f
	}
	if _, err := shm.Write(a, []byte("x"), append(many, f)); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("sent %d: %v", len(many)+1, err)
	}
	r := shm.NewReader(b)
	for range 2 {
		if _, err := shm.Write(a, []byte("x"), many); err != nil {
			t.Fatal(err)
		}
	}
	one := make([]byte, 1)
	if _, err := r.Read(one); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(one); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("more than may be kept: %v", err)
	}
	r.Close()
	f.Close()
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func TestConnRefusesWhatIsNoSocket(t *testing.T) {
	if _, err := shm.Conn(create(t, size)); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("a file as socket: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shm.Conn(os.NewFile(uintptr(fd), "tcp")); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("TCP as Unix socket: %v", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestLingeringSocket: somebody else's socket is closed at once, though it lingers, is full, and nobody reads.
func TestLingeringSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	full := func() *os.File {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		fd := int(f.Fd())
		for b := make([]byte, 1<<20); err == nil; {
			_, err = unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT)
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600}); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, closes := range map[string]func(*os.File){
		"discarded": shm.Discard,
		"no connection": func(f *os.File) {
			if _, err := shm.Conn(f); !errors.Is(err, shm.ErrFiles) {
				t.Error(err)
			}
		},
	} {
		f, done := full(), make(chan struct{})
		go func() {
			defer close(done)
			closes(f)
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: it waits", name)
		}
	}
}

func TestCheckStream(t *testing.T) {
	for name, c := range map[string]struct{ domain, kind int }{
		"datagrams": {unix.AF_UNIX, unix.SOCK_DGRAM}, "packets": {unix.AF_UNIX, unix.SOCK_SEQPACKET}, "tcp": {unix.AF_INET, unix.SOCK_STREAM}, "udp": {unix.AF_INET, unix.SOCK_DGRAM},
	} {
		fd, err := unix.Socket(c.domain, c.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name)
		defer f.Close()
		if err := shm.CheckStream(f); !errors.Is(err, shm.ErrFiles) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := shm.CheckStream(create(t, size)); !errors.Is(err, shm.ErrFiles) {
		t.Errorf("a file: %v", err)
	}
	a, b, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer shm.CloseAll([]*os.File{a, b})
	if err := shm.CheckStream(a); err != nil {
		t.Error(err)
	}
}
