package invokerhook_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// vector is one way of attack.
type vector struct {
	name  string
	share int // of the attempts, in hundredths; 0: 100
	// defended is who attacks, as what, and knowing what; it is asked before every few attempts.
	defended func() (*crate, string, knowledge)
	// control is the same attempt with the one defence gone that control names; it has to succeed.
	open    string
	control func() bool
}

const (
	safeHook = "unix:" + hookIn
	openHook = "unix:" + openIn
)

func (x *tenants) vectors() []vector {
	var all []vector
	for _, some := range []func() []vector{x.onLeases, x.onConnections, x.onProxies, x.onWalls} {
		all = append(all, some()...)
	}
	return all
}

// once has a container make one attempt.
func (x *tenants) once(c *crate, do string, k knowledge) bool {
	x.t.Helper()
	o := c.do(job{Do: do, N: 1, Seed: 1, Know: k})
	if o.Err != "" || o.Successes != 1 {
		x.t.Logf("control of %s: %+v", do, o)
	}
	return o.Successes == 1
}

// fresh is somebody new at the open hook, with a good lease.
func (x *tenants) fresh() (*crate, knowledge) {
	c := x.guest.inside("0")
	return c, knowledge{Hook: openHook, Worker: "w" + strconv.Itoa(x.n), Lease: x.openLease(), Inventory: x.insides,
		Keys: []string{otherKey}, Own: true}
}

func (x *tenants) insideKnows(l control.Lease) knowledge {
	return knowledge{Hook: safeHook, Worker: "insider", Lease: l, Inventory: x.insides, Keys: []string{otherKey}}
}

func (x *tenants) onLeases() []vector {
	with := func(do string, change func(*knowledge)) func() bool {
		return func() bool {
			c, k := x.fresh()
			if change != nil {
				change(&k)
			}
			return x.once(c, do, k)
		}
	}
	tcp := func(s *site) string { return s.hook.Addrs()[2] }
	served := x.attacker("guest_in")
	var servedFor bool
	return []vector{
		{name: "forged lease", open: "the key is known", control: with("forge", func(k *knowledge) { k.Key = clusterKey }),
			defended: func() (*crate, string, knowledge) { return x.guest, "forge", x.insideKnows(x.good()) }},
		{name: "stolen lease", open: "no attestation", control: with("bring", nil),
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(x.good())
				k.Lease.Addr = net.JoinHostPort(x.evil.ip, "1")
				return x.evil, "bring", k
			}},
		{name: "stolen lease over TCP", open: "no attestation", control: with("bring", func(k *knowledge) { k.Hook = tcp(x.open) }),
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(x.good())
				k.Hook = tcp(x.safe)
				return x.attackerOnce("other_tcp"), "bring", k
			}},
		{name: "replayed lease", open: "it was not used", control: with("bring", nil),
			defended: func() (*crate, string, knowledge) {
				c, k := x.attackerOnce("guest_in"), x.insideKnows(x.used())
				k.Lease.Addr = net.JoinHostPort(c.ip, "1")
				return c, "bring", k
			}},
		{name: "changed lease", open: "unchanged", control: with("change", nil),
			defended: func() (*crate, string, knowledge) { return x.guest, "change", x.insideKnows(x.good()) }},
		{name: "claimed slot", open: "without the claim", control: with("claim", nil),
			defended: func() (*crate, string, knowledge) { return x.guest, "claim", x.insideKnows(x.good()) }},
		{name: "claimed address", open: "no attestation",
			control: with("address", func(k *knowledge) { k.Addrs = []string{"169.254.169.254"} }),
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(x.good())
				k.Addrs = []string{"169.254.169.254", "127.0.0.1", x.workers["in"].ip, x.workers["out"].ip, x.evil.ip, x.gateway}
				return x.guest, "address", k
			}},
		{name: "second pipeline", open: "no attestation", control: with("bring", nil),
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(x.good())
				k.Worker = "served"
				k.Lease.Addr = net.JoinHostPort(served.ip, "1")
				if !servedFor {
					servedFor = true
					other := k
					other.Lease = x.used() // of p; used, so it gets nothing, but it was good
					other.Lease.Addr = k.Lease.Addr
					served.do(job{Do: "bring", N: 1, Know: other})
				}
				return served, "bring", k
			}},
	}
}

func (x *tenants) onConnections() []vector {
	returner := x.attacker("guest_in")
	victim := func() (*proxy, knowledge) {
		name, f := x.opened()
		x.liar.everybodyIs(name)
		defer x.liar.everybodyIs("")
		p := newProxy(x.t, x.open.addr)
		lease := leaseOf(f["in"], net.JoinHostPort(x.evil.ip, "1"))
		lease.CSR = p.key.Request()
		if r := p.bringLease(lease); r.Verdict != control.Take {
			x.t.Fatalf("%+v", r)
		}
		inv := p.inventory(false)
		inv.Addr = lease.Addr
		return p, knowledge{Hook: openHook, Worker: p.id, Inventory: inv, Own: true, Keys: []string{guestKey}}
	}
	// taken is somebody who has taken the victim's name and slot over, as nobody can who is attested.
	taken := func() (*crate, knowledge) {
		_, k := victim()
		x.liar.everybodyIs(k.Inventory.Pipeline)
		defer x.liar.everybodyIs("")
		c := x.guest.inside("0")
		if !x.once(c, "return", k) {
			x.t.Fatal("nobody can take over a worker at the open hook")
		}
		return c, k
	}
	return []vector{
		{name: "another's inventory", open: "no attestation",
			control: func() bool { taken(); return true },
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(control.Lease{})
				k.Worker = x.insider
				inv := *x.insides
				inv.Addr = net.JoinHostPort(returner.ip, "1")
				k.Inventory = &inv
				return returner, "return", k
			}},
		{name: "words for another's slot", open: "no attestation",
			control: func() bool {
				c, k := taken()
				c.do(job{Do: "words", N: 1, Know: k})
				eventually(x.t, func() bool { return strings.Contains(x.open.whyOf(k.Inventory.Pipeline), canary) })
				return true
			},
			defended: func() (*crate, string, knowledge) { return x.guest, "words", x.insideKnows(control.Lease{}) }},
		{name: "bytes of another's slot", open: "no attestation",
			control: func() bool {
				c, k := taken()
				x.open.attachAs(k.Inventory.Pipeline, true)
				return x.once(c, "transfer", k)
			},
			defended: func() (*crate, string, knowledge) { return x.guest, "transfer", x.insideKnows(control.Lease{}) }},
		{name: "conductor's steps", open: "the key is known",
			control: func() bool {
				k := x.insideKnows(control.Lease{})
				k.Own, k.Keys = true, []string{guestKey}
				return x.once(x.guest, "steps", k)
			},
			defended: func() (*crate, string, knowledge) { return x.guest, "steps", x.insideKnows(control.Lease{}) }},
		{name: "user's commands", open: "the key is known",
			control: func() bool {
				k := x.insideKnows(control.Lease{})
				k.Own, k.Keys = true, []string{guestKey}
				return x.once(x.evil, "client", k)
			},
			defended: func() (*crate, string, knowledge) { return x.evil, "client", x.insideKnows(control.Lease{}) }},
		{name: "second worker of a container", open: "no attestation",
			control: func() bool { return x.once(x.guest, "second", knowledge{Hook: openHook}) },
			defended: func() (*crate, string, knowledge) {
				x.guest.do(job{Do: "hello", Know: x.insideKnows(control.Lease{})})
				return x.guest, "second", x.insideKnows(control.Lease{})
			}},
		{name: "worker as a function's user", open: "the proxy's user",
			control: func() bool {
				return x.once(x.attacker("guest_fresh").inside("0"), "second", x.insideKnows(control.Lease{}))
			},
			defended: func() (*crate, string, knowledge) {
				return x.attackerOnce("guest_function").inside("65534"), "second", x.insideKnows(control.Lease{})
			}},
		{name: "crowd of connections", share: 10, open: "no attestation",
			control:  func() bool { return x.once(x.evil, "crowd", knowledge{Hook: openHook}) },
			defended: func() (*crate, string, knowledge) { return x.evil, "crowd", x.insideKnows(control.Lease{}) }},
		{name: "hook's memory", open: "a file without seals",
			control: func() bool { return x.once(x.evil, "pulse", knowledge{Own: true}) },
			defended: func() (*crate, string, knowledge) {
				k := x.insideKnows(control.Lease{})
				k.Worker = "pulse"
				return x.attackerOnce("other_pulse"), "pulse", k
			}},
	}
}

// onProxies are attacks on other containers, which anybody in their network can reach.
func (x *tenants) onProxies() []vector {
	both := []string{x.workers["in"].ip, x.workers["out"].ip}
	started := x.yard.proxy("prewarm_static", x.safe.addr)
	started.init("weft:sink")
	knows := func(addrs []string) knowledge {
		return knowledge{Lease: x.used(), Addrs: addrs}
	}
	return []vector{
		{name: "second /init", open: "a container without one",
			control: func() bool {
				c := x.yard.proxy("prewarm_static", x.safe.addr)
				eventually(x.t, c.listens)
				return x.once(x.evil, "init", knowledge{Addrs: []string{c.ip}, Own: true})
			},
			defended: func() (*crate, string, knowledge) { return x.evil, "init", knows(both) }},
		{name: "forged /run at a holder", open: "the lease is good",
			control:  func() bool { return x.runGood() },
			defended: func() (*crate, string, knowledge) { return x.evil, "run", knows(both) }},
		{name: "forged /run at a neighbour", open: "the lease is good",
			control:  func() bool { return x.runGood() },
			defended: func() (*crate, string, knowledge) { return x.evil, "run", knows([]string{started.ip}) }},
		{name: "ordinary /run at a holder", open: "it holds no slot",
			control:  func() bool { return x.once(x.evil, "ordinary", knowledge{Addrs: []string{started.ip}}) },
			defended: func() (*crate, string, knowledge) { return x.evil, "ordinary", knows(both) }},
		{name: "link without the certificate", open: "the certificate",
			control: x.linkWithCertificate,
			defended: func() (*crate, string, knowledge) {
				var at []string
				for _, s := range x.safe.status().Slots {
					at = append(at, s.Addr)
				}
				return x.evil, "mesh", knowledge{Addrs: at}
			}},
	}
}

// runGood starts a proxy that the open hook believes, and posts a good lease to it from the side.
func (x *tenants) runGood() bool {
	c := x.yard.proxy("prewarm_static", x.open.addr)
	c.init("weft:source")
	x.believe(c.ip)
	return x.once(x.evil, "run", knowledge{Lease: x.openLease(), Addrs: []string{c.ip}, Own: true})
}

func (x *tenants) believe(ip string) {
	x.liar.mu.Lock()
	defer x.liar.mu.Unlock()
	x.liar.addrs = append(x.liar.addrs, ip)
}

// linkWithCertificate gives one slot of a pipeline to a real proxy and the other to the attacker, who then
// opens a link as what it is.
func (x *tenants) linkWithCertificate() bool {
	name, f := x.opened()
	c := x.yard.proxy("prewarm_static", x.open.addr)
	c.init("weft:sink")
	x.believe(c.ip)
	c.run(f["out"])
	attacker := x.guest.inside("0")
	if !x.once(attacker, "bring", knowledge{Hook: openHook, Worker: "link", Lease: leaseOf(f["in"], net.JoinHostPort(x.guest.ip, "1"))}) {
		return false
	}
	var at string
	eventually(x.t, func() bool {
		for _, s := range x.open.statusOf(name).Slots {
			if s.Slot.Stage == "out" {
				at = s.Addr
			}
		}
		return at != ""
	})
	return x.once(attacker, "mesh", knowledge{Addrs: []string{at}, Own: true})
}

// onWalls are attacks on what holds the container.
func (x *tenants) onWalls() []vector {
	nothing := func(c *crate, do string) func() (*crate, string, knowledge) {
		return func() (*crate, string, knowledge) { return c, do, knowledge{Hook: safeHook} }
	}
	return []vector{
		{name: "packets under another's address", open: "with NET_RAW",
			control:  func() bool { return x.once(x.yard.other("other_raw", "--cap-add", "NET_RAW"), "raw", knowledge{}) },
			defended: nothing(x.evil, "raw")},
		{name: "neighbours' files", open: "the host's processes",
			control: func() bool {
				return x.once(x.yard.other("other_pid", "--pid", "host"), "neighbour", knowledge{Addrs: x.hostPIDs(x.workers["in"]), Own: true})
			},
			defended: nothing(x.evil, "neighbour")},
		{name: "the socket's place", open: "its folder writable",
			control: func() bool {
				c := x.yard.other("other_rw", "-v", x.spare()+":/run/weft")
				return x.once(c, "socket", knowledge{Hook: safeHook})
			},
			defended: nothing(x.evil, "socket")},
		{name: "proxy from its function", open: "as the proxy's user",
			control:  func() bool { return x.once(x.workers["in"].inside("0"), "proxy", knowledge{}) },
			defended: nothing(x.workers["in"].inside("65534"), "proxy")},
	}
}

// TestIsolation attacks from containers with OpenWhisk's own capabilities. No attempt succeeds; each does
// when its defence is gone. With WEFT_SOAK set there are ten thousand, and another seed each time unless
// WEFT_SEED gives one.
func TestIsolation(t *testing.T) {
	seed, each := uint64(1), 12
	if os.Getenv("WEFT_SOAK") != "" {
		seed, each = uint64(time.Now().UnixNano()), 410
	}
	if s, err := strconv.ParseUint(os.Getenv("WEFT_SEED"), 10, 64); err == nil {
		seed = s
	}
	x := newTenants(t)
	var table strings.Builder
	fmt.Fprintf(&table, "seed %d\n%-34s %9s %10s   %s\n", seed, "vector", "attempts", "successes", "control, with …")
	attempts, successes := 0, 0
	for i, v := range x.vectors() {
		n, won, why := x.assault(v, each, seed+uint64(i)<<32)
		ok := v.control()
		fmt.Fprintf(&table, "%-34s %9d %10d   %s: %s\n", v.name, n, won, v.open, map[bool]string{true: "1 of 1", false: "0 of 1"}[ok])
		if !ok {
			t.Errorf("%s: the attempt fails even with the defence gone (%s): it shows nothing", v.name, v.open)
		}
		if won > 0 {
			t.Errorf("%s: %d of %d attempts have succeeded", v.name, won, n)
		}
		t.Logf("%s: %s", v.name, why)
		attempts, successes = attempts+n, successes+won
	}
	fmt.Fprintf(&table, "%-34s %9d %10d\n", "all", attempts, successes)
	t.Log("\n" + table.String())
}

// assault makes the attempts, a few at a time, and looks for harm.
func (x *tenants) assault(v vector, n int, seed uint64) (attempts, successes int, why string) {
	x.t.Helper()
	const few = 50
	if v.share != 0 {
		n = max(2, n*v.share/100)
	}
	reasons := map[string]int{}
	for n > attempts {
		c, do, k := v.defended()
		o := c.do(job{Do: do, N: min(few, n-attempts), Seed: seed + uint64(attempts), Know: k})
		if o.Err != "" {
			x.t.Fatalf("%s: %s", v.name, o.Err)
		}
		attempts, successes = attempts+o.Attempts, successes+o.Successes
		for text, times := range o.Why {
			reasons[text] += times
		}
	}
	if harm := x.harm(); harm != "" {
		x.t.Errorf("%s: %s", v.name, harm)
		successes++
	}
	most := ""
	for text, times := range reasons {
		if most == "" || times > reasons[most] {
			most = text
		}
	}
	return attempts, successes, fmt.Sprintf("%d answers, most often %q", len(reasons), most)
}
