package invokerhook_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// hookProcess is a hook in a process of its own, which the test kills.
func hookProcess(spec string) error {
	f := strings.Split(spec, " ") // listen, Kafka, API host, prefix of topics
	h, err := invokerhook.New(invokerhook.Config{Listen: f[:1], Kafka: f[1:2], APIHost: f[2], TopicPrefix: f[3], EventsPrefix: f[3], RegistryTopic: f[3] + "weft.registry", Keys: [][]byte{clusterKey}, Host: "test", Processes: true,
		Logger: zerolog.New(os.Stderr), HTTP: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Open(context.Background()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return h.Run(ctx)
}

func (s *site) spawn() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEFT_TEST_HOOK="+strings.Join([]string{s.addr, s.brokers[0], s.url, s.prefix}, " "))
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := control.Dial(s.t.Context(), s.addr, nil)
		if err == nil {
			_ = c.Close()
			return cmd
		}
		if time.Now().After(end) {
			s.t.Fatal("the hook's process is not ready")
		}
	}
}

// TestKilledHookIsReplaced kills the hook's process while a lease is between two activations. The next
// one hears of the completion that came in between, and renews.
func TestKilledHookIsReplaced(t *testing.T) { onBoth(t, testKilledHookIsReplaced) }

func testKilledHookIsReplaced(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	_ = s.hook.Close()
	cmd := s.spawn()
	p := s.staff(1500)
	var release control.Release
	p["in"].await(control.TypeRelease, &release)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s.complete(p["in"].lease.activation)
	s.spawn()
	p["in"].lease.token.ID = "" // its /run was answered
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	if r := p["in"].bring(s.next()); r.Verdict != control.Renewed {
		t.Fatalf("renewal: %+v", r)
	}
	s.until("as before", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Term == 2 && st.Restarts == 0 && st.Moves == 0
	})
}
