package invokerhook_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/invokerhook/attest"
)

// liar is an attestor that believes everything: with it, a hook has no attestation. It is what the control
// runs without a defence are made with, and exists in tests only.
type liar struct {
	mu    sync.Mutex
	addrs []string
	id    string // of all callers; "": each has its own
}

func (l *liar) Caller(net.Conn) (*attest.Caller, error) { return &attest.Caller{}, nil }
func (l *liar) Close()                                  {}

func (l *liar) Attest(context.Context, *attest.Caller) (*attest.Fact, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.id
	if id == "" {
		id = rand.Text()
	}
	f := &attest.Fact{Kind: attest.Container, ContainerID: id, Name: "wsk00_1_prewarm_any", Remote: true}
	for _, a := range l.addrs {
		f.Addrs = append(f.Addrs, netip.MustParseAddr(a))
	}
	return f, nil
}

func (l *liar) everybodyIs(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id
}

// tenants is the place of the attacks: a hook beside Docker with the pipeline p of namespace guest, whose
// workers are real proxies in containers; containers of namespaces other and guest that turn on it; and, for
// the controls, a hook without attestation and a neighbourhood without walls.
type tenants struct {
	t          *testing.T
	yard       *yard
	safe, open *site
	liar       *liar
	workers    map[string]*crate // of p
	insides    *control.Inventory
	insider    string // what p's in[0] calls itself
	evil       *crate // a container of namespace other
	guest      *crate // one of namespace guest, for the stage in

	bait     firing // a good lease of guest's that nobody has brought
	baitedAt time.Time
	gateway  string
	more     map[string]*crate // attackerOnce's
	n        int               // pipelines of the open hook
}

const openIn = "/run/open/hook.sock" // the open hook, in containers

func newTenants(t *testing.T) *tenants {
	y := newYard(t)
	x := &tenants{t: t, yard: y, liar: &liar{}, gateway: y.gateway(), more: map[string]*crate{}}
	x.safe = newSite(t, func(c *invokerhook.Config) {
		withDocker(c)
		c.Listen = append(c.Listen, "tcp:"+x.gateway+":0")
	})
	x.open = newSiteAlone(t, func(c *invokerhook.Config) {
		c.Attest = func(context.Context, attest.Config) (invokerhook.Attestor, error) { return x.liar, nil }
		c.Listen = append(c.Listen, "tcp:"+x.gateway+":0")
	})
	x.workers = y.staffed(x.safe, 3_600_000, x.safe.addr)
	x.evil, x.guest = x.attacker("other_evil"), x.attacker("guest_in")
	x.liar.addrs = []string{x.evil.ip, x.guest.ip, "127.0.0.1", "169.254.169.254"}
	st := x.safe.status()
	x.insides = &control.Inventory{Namespace: "guest", Pipeline: "p", Slot: st.Slots[0].Slot, Incarnation: st.Slots[0].Incarnation,
		Term: st.Term, Attempt: st.Attempt, Addr: st.Slots[0].Addr}
	x.insider = x.nameOf(x.workers["in"])
	return x
}

// attacker is a container with both hooks' sockets.
func (x *tenants) attacker(rest string, extra ...string) *crate {
	x.t.Helper()
	extra = append(extra, mount(x.safe.addr, hookIn)...)
	return x.yard.other(rest, append(extra, mount(x.open.addr, openIn)...)...)
}

// attackerOnce is one that several rounds of the same attack are made from.
func (x *tenants) attackerOnce(rest string) *crate {
	x.t.Helper()
	if x.more[rest] == nil {
		x.more[rest] = x.attacker(rest)
	}
	return x.more[rest]
}

// nameOf is what the proxy in a container calls itself, as the hook's log has it: an attacker is told.
func (x *tenants) nameOf(c *crate) string {
	x.t.Helper()
	id := docker(x.t, "inspect", "-f", "{{.Id}}", c.name)
	m := regexp.MustCompile("container:" + id + "/([0-9a-f]{32})").FindStringSubmatch(x.safe.log.String())
	if m == nil {
		x.t.Fatalf("nobody has registered from container %s", c.name)
	}
	return m[1]
}

// good is a lease of guest's for the stage in that has been fired and not brought, as one who reads the
// platform's Kafka has it.
func (x *tenants) good() control.Lease {
	x.t.Helper()
	if time.Since(x.baitedAt) > 30*time.Second { // a start takes no longer than a minute
		if !x.baitedAt.IsZero() {
			x.halt(x.safe, "bait")
		}
		x.yard.begin(x.safe, "guest", guestKey, "bait", 3_600_000)
		x.bait, x.baitedAt = x.firing(x.safe, "bait", "in"), time.Now()
	}
	return leaseOf(x.bait, net.JoinHostPort(x.guest.ip, "4433"))
}

func leaseOf(f firing, addr string) control.Lease {
	return control.Lease{Token: f.token, Namespace: "guest", Action: f.action, ActivationID: f.activation, Addr: addr,
		DeadlineMS: time.Now().Add(time.Hour).UnixMilli()}
}

// used is p's own lease, which was brought.
func (x *tenants) used() control.Lease {
	c := x.workers["in"]
	return leaseOf(c.lease, net.JoinHostPort(x.guest.ip, "4433"))
}

// firing waits for a stage's lease of a pipeline.
func (x *tenants) firing(s *site, name, stage string) firing {
	x.t.Helper()
	for {
		if f := s.next(); f.token.Pipeline == name && f.token.Stage == stage {
			return f
		}
	}
}

// halt stops a pipeline.
func (x *tenants) halt(s *site, name string) {
	x.t.Helper()
	c := s.client(guestKey)
	defer c.Close()
	if err := call(x.t, c, control.TypeStop, control.Query{Pipeline: name}, nil); err != nil {
		x.t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var st control.Status
		if err := call(x.t, c, control.TypeStatus, control.Query{Pipeline: name}, &st); err != nil {
			x.t.Fatal(err)
		}
		if p := st.Pipelines[0].Phase; p == control.Ended || p == control.Failed {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("pipeline %s doesn't end", name)
		}
	}
}

// opened starts a pipeline at the open hook, and gives its leases, by stage.
func (x *tenants) opened() (string, map[string]firing) {
	x.t.Helper()
	x.n++
	name := "open" + strconv.Itoa(x.n)
	p := newProxy(x.t, x.open.addr)
	pl := twoStages(3_600_000)
	pl.Name = name
	p.call(control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: name}, nil)
	out := map[string]firing{}
	for len(out) < 2 {
		if f := x.open.next(); f.token.Pipeline == name {
			out[f.token.Stage] = f
		}
	}
	return name, out
}

// openLease is a good one at the open hook.
func (x *tenants) openLease() control.Lease {
	_, f := x.opened()
	return leaseOf(f["in"], net.JoinHostPort(x.evil.ip, "4433"))
}

// harm is what has become of p that no attack may do; "" for nothing.
func (x *tenants) harm() string {
	st := x.safe.status()
	if st.Phase != control.Running || st.Restarts != 0 || st.Moves != 0 {
		return fmt.Sprintf("pipeline p: %+v: %s", st, x.safe.why())
	}
	for _, s := range st.Slots {
		if ip, _, _ := net.SplitHostPort(s.Addr); s.Incarnation != 1 || ip != x.workers[s.Slot.Stage].ip || s.In >= 1<<40 {
			return fmt.Sprintf("%+v", s)
		}
	}
	var logs control.LogsReply
	c := x.safe.client(guestKey)
	defer c.Close()
	if err := call(x.t, c, control.TypeLogs, control.Query{Pipeline: "p"}, &logs); err != nil {
		x.t.Fatal(err)
	}
	if said := fmt.Sprint(logs.Lines, x.safe.why()); strings.Contains(said, canary) {
		return "the attacker's words are in p's: " + said
	}
	return ""
}

// spare is a folder with a socket that a container may have whole.
func (x *tenants) spare() string {
	dir := x.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hook.sock"), nil, 0o666); err != nil {
		x.t.Fatal(err)
	}
	return dir
}

// hostPIDs are the processes of a worker's container as the host counts.
func (x *tenants) hostPIDs(c *crate) []string {
	return []string{docker(x.t, "inspect", "-f", "{{.State.Pid}}", c.name)}
}
