package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const patience = 10 * time.Second

// TestMain is also the command itself, for the tests that need a process.
func TestMain(m *testing.M) {
	if os.Getenv("WEFT_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

type process struct {
	*exec.Cmd
	socket         string
	stdout, stderr bytes.Buffer
}

// start runs the command; a part of its settings comes from the environment.
func start(t *testing.T, socket, broker, keys string) *process {
	t.Helper()
	p := &process{socket: socket}
	p.Cmd = exec.Command(os.Args[0], "--listen", "unix:"+socket, "--apihost", "http://127.0.0.1:1", "--key-file", keys, "--attest", "process")
	p.Env = append(os.Environ(), "WEFT_TEST_MAIN=1", "WEFT_KAFKA="+broker)
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			return p
		}
		if time.Now().After(end) {
			_ = p.Process.Kill()
			_ = p.Wait()
			t.Fatalf("not ready: %s", p.stderr.String())
		}
	}
}

func TestReadyKilledAgainAndStopped(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "completed0"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	key := strings.Repeat("ab", 32)
	if err := os.WriteFile(keys, []byte("# in use\n"+key+"\n\n"+strings.Repeat("cd", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "hook.sock")
	first := start(t, socket, broker.ListenAddrs()[0], keys)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	// Its socket is still there, with nobody behind it.
	second := start(t, socket, broker.ListenAddrs()[0], keys)
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Fatalf("after SIGTERM: %v\n%s", err, second.stderr.String())
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Error("the socket is still there")
	}
	log := second.stderr.String()
	if second.stdout.Len() != 0 || !strings.Contains(log, `"message":"ready"`) || !strings.Contains(log, `"message":"stopped"`) || strings.Contains(log, key) {
		t.Errorf("stdout %q, log %s", second.stdout.String(), log)
	}
}

func TestWrongCommandLines(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("no key at all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("abcd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "no key file"},
		{[]string{"--nonsense"}, 2, "nonsense"},
		{[]string{"--key-file", bad}, 2, "line 1 is not a key"},
		{[]string{"--key-file", filepath.Join(dir, "absent")}, 2, "absent"},
		{[]string{"--log-level", "loud"}, 2, "loud"},
		{[]string{"--ring-memory", "512MB"}, 2, "not a size: write 512Ki"},
		{[]string{"--key-file", good, "--kafka", "127.0.0.1:1", "--apihost", "x", "--ring-memory", "1Mi"}, 1, "want at least"},
		{[]string{"--key-file", short, "--kafka", "127.0.0.1:1", "--apihost", "x"}, 1, "needs 32"},
		{[]string{"--key-file", short}, 1, "Kafka broker"},
		{[]string{"--key-file", good, "--kafka-tls-ca", bad}, 2, "has no certificate in PEM"},
		{[]string{"--key-file", good, "--kafka-tls-fingerprint", "abc"}, 2, "is not a SHA-256"},
		{[]string{"--key-file", good, "--kafka-password-file", filepath.Join(dir, "absent")}, 2, "read the password for Kafka"},
		{[]string{"--key-file", good, "--kafka", "127.0.0.1:1", "--apihost", "x", "--kafka-sasl", "PLAIN"}, 1, "needs a user and a password"},
		{[]string{"--key-file", good, "--kafka", "127.0.0.1:1", "--apihost", "x", "--kafka-sasl", "KERBEROS"}, 1, "is not known"},
		{[]string{"--key-file", good, "--kafka", "127.0.0.1:1", "--apihost", "x", "--kafka-user", "u"}, 1, "without a SASL mechanism"},
	} {
		var stderr bytes.Buffer
		code := run(context.Background(), c.args, func(string) string { return "" }, &stderr)
		if code != c.code || !strings.Contains(stderr.String(), c.want) || strings.Contains(stderr.String(), "no key at all") {
			t.Errorf("%q: exit %d, %s", c.args, code, stderr.String())
		}
	}
}
