package invokerhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// attacks are made from inside a container. Each makes one attempt, with fields that r varies, and returns
// nil when that has succeeded, else how it was refused. What it is told, an attacker may know.
var attacks = map[string]func(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error{
	"forge": forge, "bring": bring, "change": change, "claim": claim, "return": comeBack, "words": words,
	"transfer": transfer, "steps": stepIn, "client": client, "address": address, "second": second, "crowd": crowd,
	"raw": raw, "init": initAgain, "run": runForged, "ordinary": runOrdinary, "mesh": mesh,
	"neighbour": neighbour, "socket": socket, "pulse": pulse, "proxy": ownProxy,
}

// brought is nil when the hook has taken the lease.
func (s *someone) brought(ctx context.Context, k knowledge) error {
	reply, err := s.lease(ctx, k)
	if err != nil {
		return err
	}
	switch reply.Verdict {
	case control.Take, control.Renewed:
		return nil
	}
	return fmt.Errorf("%s: %s", reply.Verdict, reply.Reason)
}

func text(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)[:n]
}

func one[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// vary changes what must make no difference.
func vary(r *rand.Rand, l control.Lease) control.Lease {
	l.ActivationID, l.Version = text(r, 32), "0.0."+strconv.Itoa(r.IntN(99))
	l.DeadlineMS = time.Now().Add(time.Duration(r.IntN(3600)) * time.Second).UnixMilli()
	if at, err := netip.ParseAddrPort(l.Addr); err == nil {
		l.Addr = netip.AddrPortFrom(at.Addr(), uint16(1+r.IntN(65534))).String()
	}
	return l
}

func bring(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	k.Lease = vary(r, k.Lease)
	return s.brought(ctx, k)
}

// forge makes a MAC.
func forge(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	t := &k.Lease.Token
	switch key := []byte(text(r, 32)); {
	case k.Key != nil:
		*t = control.SignToken(k.Key, t.Namespace, t.Pipeline, t.Stage, t.ID, time.UnixMilli(t.ExpiresMS+r.Int64N(1000)))
	case r.IntN(2) == 0:
		*t = control.SignToken(key, t.Namespace, t.Pipeline, t.Stage, t.ID, time.UnixMilli(t.ExpiresMS))
	case r.IntN(2) == 0:
		t.MAC = text(r, 64)
	case r.IntN(2) == 0:
		at := r.IntN(len(t.MAC))
		t.MAC = t.MAC[:at] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", t.MAC[at])+1+r.IntN(15))%16]) + t.MAC[at+1:]
	default:
		t.MAC = t.MAC[:r.IntN(len(t.MAC))]
	}
	return bring(ctx, s, r, k)
}

// change makes another lease of a good one.
func change(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	l := &k.Lease
	t := &l.Token
	if !k.Own {
		switch r.IntN(5) {
		case 0:
			t.Stage = one(r, []string{"out", "in ", "", text(r, 5)})
		case 1:
			t.Pipeline = one(r, []string{"p", "", text(r, 5)})
		case 2:
			t.Namespace = one(r, []string{"other", "", text(r, 5)})
			l.Namespace = t.Namespace
		case 3:
			t.ID = text(r, 32)
		case 4:
			t.ExpiresMS += 1 + r.Int64N(1e9)
		}
		l.Action = "/" + t.Namespace + "/" + t.Pipeline + ".stages/" + t.Stage
	}
	return bring(ctx, s, r, k)
}

// claim says that it holds the slot already.
func claim(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	if !k.Own {
		k.Lease.Holding = inventory(r, k)
	}
	return bring(ctx, s, r, k)
}

func inventory(r *rand.Rand, k knowledge) *control.Inventory {
	i := *k.Inventory
	i.LeaseID, i.Ready, i.Ended = text(r, 32), r.IntN(2) == 0, false
	if !k.Own && r.IntN(2) == 0 {
		i.Incarnation, i.Term = uint64(r.IntN(5)), uint32(r.IntN(5))
	}
	return &i
}

// comeBack is a holder that returns, in its own words.
func comeBack(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	return s.hello(ctx, k, inventory(r, k))
}

var errUnseen = errors.New("sent; whether it was heard shows elsewhere")

// words speaks for another's slot. Whoever attacked can tell from the pipeline's state.
func words(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	if err := s.ready(ctx, k); err != nil {
		return err
	}
	i := k.Inventory
	state := control.SlotState{Namespace: i.Namespace, Pipeline: i.Pipeline, Slot: i.Slot, Incarnation: i.Incarnation, Attempt: i.Attempt, Reason: canary}
	typ := one(r, []string{control.TypeFailed, control.TypeEnded, control.TypeRestarted, control.TypeStats, control.TypeLog, control.TypeBarrierPassed})
	if k.Own {
		typ = control.TypeFailed
	}
	var body any = control.BarrierMark{SlotState: state, Barrier: uint64(r.IntN(100)), Position: r.Int64N(1000)}
	switch typ {
	case control.TypeStats:
		body = control.Stats{SlotState: state, In: 1 << 40, Failed: 1 << 40}
	case control.TypeLog:
		body = control.Log{Namespace: i.Namespace, Pipeline: i.Pipeline, Slot: i.Slot, Lines: []control.Printed{{Stream: "stdout", Text: canary}}}
	}
	if err := s.conn.Send(typ, body, nil); err != nil {
		return err
	}
	return errUnseen
}

const canary = "a canary of the attacker"

// transfer reads another's source, or writes to its sink.
func transfer(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	if err := s.ready(ctx, k); err != nil {
		return err
	}
	i := k.Inventory
	t := control.Transfer{Namespace: i.Namespace, Pipeline: i.Pipeline, Slot: i.Slot, Incarnation: i.Incarnation, Offset: r.Int64N(1000), Max: 1 + r.IntN(1000)}
	typ := one(r, []string{control.TypePull, control.TypeWrite, control.TypeDead})
	if k.Own {
		typ = control.TypePull
	}
	_, err := s.conn.Call(ctx, typ, t, []byte(canary), nil)
	return err
}

// stepIn plays the conductor action's components with keys that aren't the namespace's.
func stepIn(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	k.Step = control.Step{Step: one(r, []string{"stop", "status", "report"}), Namespace: "guest", Name: "p", APIKey: k.guess(r)}
	if k.Own {
		k.Step.Step, k.Step.APIKey = "status", k.Keys[0]
	}
	return s.step(ctx, k)
}

// guess is a key: one that it has, cut or lengthened, or one made up.
func (k *knowledge) guess(r *rand.Rand) string {
	have := one(r, k.Keys)
	user, _, _ := strings.Cut(have, ":")
	return one(r, []string{have, "", "guest-uuid:", "guest-uuid:" + text(r, 12), user + ":" + text(r, 12), "guest", have + text(r, 1), text(r, 8)})
}

// client asks for another namespace's pipelines.
func client(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	c, err := control.Dial(ctx, k.Hook, func(*control.Message, bool, func(control.Answer)) {})
	if err != nil {
		return err
	}
	defer c.Close()
	key := k.guess(r)
	if k.Own {
		key = k.Keys[0]
	}
	hello := control.Hello{Version: control.Version, Role: control.RoleClient, Auth: key}
	if _, err := c.Call(ctx, control.TypeHello, hello, nil, nil); err != nil {
		return err
	}
	q := control.Query{Namespace: one(r, []string{"guest", "guest/p", "_", "", "GUEST", "guest%2f", "../guest"}), Pipeline: one(r, []string{"p", "", "guest/p", "../guest/p"})}
	if k.Own {
		q = control.Query{Namespace: "guest", Pipeline: "p"}
	}
	var answer json.RawMessage
	typ := one(r, []string{control.TypeStatus, control.TypeWhy, control.TypeLogs, control.TypeStop})
	if k.Own {
		typ = control.TypeStatus
	}
	if _, err := c.Call(ctx, typ, q, nil, &answer); err != nil {
		return err
	}
	if !strings.Contains(string(answer), `"slot`) && !strings.Contains(string(answer), `"guest"`) {
		return errors.New("nothing of guest's was answered")
	}
	return nil
}

// address takes a good lease and says that it is reached at another's address.
func address(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	at := one(r, k.Addrs)
	if !k.Own && r.IntN(4) == 0 {
		at = netip.AddrFrom4([4]byte{byte(1 + r.IntN(220)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}).String()
	}
	k.Lease = vary(r, k.Lease)
	k.Lease.Addr = net.JoinHostPort(at, strconv.Itoa(1+r.IntN(65534)))
	return s.brought(ctx, k)
}

// second registers under one more name.
func second(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	k.Worker = text(r, 1+r.IntN(60))
	next := &someone{messages: s.messages}
	err := next.hello(ctx, k, nil)
	if next.conn != nil {
		_ = next.conn.Close()
	}
	return err
}

// crowd takes more connections than one container may have.
func crowd(ctx context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	var all []*control.Conn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	heard := 0
	for range 24 {
		c, err := control.Dial(ctx, k.Hook, func(*control.Message, bool, func(control.Answer)) {})
		if err != nil {
			return err
		}
		all = append(all, c)
		var said *control.RemoteError
		if _, err := c.Call(ctx, control.TypeHello, control.Hello{Version: 100 + r.IntN(100)}, nil, nil); errors.As(err, &said) {
			heard++
		}
	}
	if heard > 16 {
		return nil
	}
	return errors.New("the connections beyond 16 were closed")
}

// raw makes packets of its own, to send under another's address.
func raw(_ context.Context, _ *someone, r *rand.Rand, _ knowledge) error {
	domain, typ := one(r, []int{unix.AF_INET, unix.AF_PACKET, unix.AF_INET6}), unix.SOCK_RAW
	fd, err := unix.Socket(domain, typ, 1+r.IntN(200))
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func post(ctx context.Context, addr, path string, body any, most time.Duration) (int, string, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+net.JoinHostPort(addr, "8080")+path, bytes.NewReader(b))
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// initAgain gives a neighbour other code.
func initAgain(ctx context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	value := map[string]any{"name": text(r, 4), "main": "main", "binary": false, "code": one(r, []string{"weft:sink", "weft:source", text(r, 40)})}
	if k.Own {
		value["code"] = "weft:source"
	}
	status, answer, err := post(ctx, one(r, k.Addrs), "/init", map[string]any{"value": value}, time.Minute)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %.60s", status, answer)
	}
	return err
}

// runForged brings a lease that was never fired to a neighbour's /run.
func runForged(ctx context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	t, most := k.Lease.Token, time.Minute
	if k.Own {
		most = 3 * time.Second
	} else if t.MAC = text(r, 64); r.IntN(2) == 0 {
		t.ID = text(r, 32)
	}
	status, answer, err := post(ctx, one(r, k.Addrs), "/run", map[string]any{"value": map[string]any{control.Reserved: t, text(r, 3): 1},
		"namespace": k.Lease.Namespace, "action_name": k.Lease.Action, "activation_id": text(r, 32),
		"deadline": fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())}, most)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil // it is held open
	case err != nil:
		return err
	case status == http.StatusOK && !strings.Contains(answer, `"error"`):
		return nil
	}
	return fmt.Errorf("%d %.60s", status, answer)
}

// runOrdinary has a neighbour that holds a slot do ordinary work.
func runOrdinary(ctx context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	value := one(r, []any{map[string]any{text(r, 3): text(r, 9)}, []any{1}, nil, map[string]any{}})
	status, answer, err := post(ctx, one(r, k.Addrs), "/run", map[string]any{"value": value, "namespace": "guest",
		"activation_id": text(r, 32), "deadline": fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())}, time.Minute)
	if err == nil && strings.Contains(answer, "held by pipeline") {
		err = fmt.Errorf("%d %.60s", status, answer)
	}
	return err
}

// mesh opens a link to a worker with a certificate of an authority of its own that says whatever it likes.
func mesh(ctx context.Context, s *someone, r *rand.Rand, k knowledge) error {
	cert, err := s.certificate(r, k)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, one(r, k.Addrs), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"weft/1"},
		ServerName: identity.ServerName, Certificates: []tls.Certificate{cert}}, &quic.Config{MaxIdleTimeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.OpenStreamSync(ctx)
	if err == nil {
		_, err = stream.Write([]byte(text(r, 100)))
	}
	if err == nil {
		_, err = stream.Read(make([]byte, 1))
	}
	var refused *quic.TransportError
	if errors.As(err, &refused) {
		return err
	}
	return nil // who refuses what was said, has let it in
}

func (s *someone) certificate(r *rand.Rand, k knowledge) (tls.Certificate, error) {
	if k.Own {
		return s.key.Certificate(s.given.Cert)
	}
	who := transport.Identity{Namespace: one(r, []string{"guest", "other"}), Pipeline: one(r, []string{"p", "evil"}),
		Stage: one(r, []string{"in", "out"}), Incarnation: uint64(r.IntN(4))}
	if r.IntN(8) == 0 {
		return tls.Certificate{}, nil
	}
	ca, err := identity.NewCA(who.Namespace, who.Pipeline, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := identity.NewKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := ca.Sign(key.Request(), who, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return tls.Certificate{}, err
	}
	return key.Certificate(der)
}

// neighbour looks for other containers' files and memory.
func neighbour(_ context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	pid := strconv.Itoa(1 + r.IntN(4<<20))
	if k.Own {
		pid = one(r, k.Addrs)
	}
	if pid == strconv.Itoa(os.Getpid()) || pid == "1" {
		return errors.New("that is itself")
	}
	path := one(r, []string{"root/proxy", "root/tmp", "mem", "environ", "maps", "fd/" + strconv.Itoa(r.IntN(40)), "map_files", "cwd"})
	path = "/proc/" + pid + "/" + path
	if k.Own {
		path = "/proc/" + pid + "/root/proxy"
	} else if r.IntN(2) == 0 {
		path = one(r, []string{"/run/weft/cluster.key", "/run/weft/../weft/key", "/run/docker.sock", "/var/run/docker.sock", "/dev/mem",
			"/dev/kmem", "/dev/vda", "/dev/shm/weft-" + text(r, 4), "/var/lib/docker", "/sys/fs/cgroup/memory/release_agent",
			"/proc/kcore", "/sys/kernel/debug", "/run/weft/" + text(r, 6)})
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Read(make([]byte, 1)); errors.Is(err, unix.EISDIR) {
		var names []string
		if names, err = f.Readdirnames(1); err == nil && len(names) == 0 {
			err = errors.New("empty")
		}
	}
	return err
}

// socket puts itself where the hook's socket is.
func socket(_ context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	path := strings.TrimPrefix(k.Hook, "unix:")
	beside := filepath.Join(filepath.Dir(path), text(r, 6))
	switch r.IntN(8) {
	case 0:
		return os.Remove(path)
	case 1:
		return os.Rename(path, beside)
	case 2:
		return os.WriteFile(beside, []byte(canary), 0o666)
	case 3:
		return os.Symlink("/tmp", beside)
	case 4:
		return os.Chmod(path, os.FileMode(r.IntN(0o777)))
	case 5:
		return os.Chown(path, 1000+r.IntN(1000), 1000)
	case 6:
		return os.Mkdir(beside, 0o777)
	}
	l, err := net.Listen("unix", beside)
	if err == nil {
		_ = l.Close()
	}
	return err
}

// pulse truncates or grows the memory that the hook reads, which would end the hook with SIGBUS.
func pulse(ctx context.Context, _ *someone, r *rand.Rand, k knowledge) error {
	fd := -1
	if k.Own {
		var err error
		if fd, err = unix.MemfdCreate("own", unix.MFD_ALLOW_SEALING); err != nil {
			return err
		}
		defer unix.Close(fd)
	} else {
		c, err := control.Dial(ctx, k.Hook, func(*control.Message, bool, func(control.Answer)) {})
		if err != nil {
			return err
		}
		defer c.Close()
		hello := control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: k.Worker}
		files, err := c.CallFiles(ctx, control.TypeHello, hello, nil)
		if err != nil || len(files) != 1 {
			return fmt.Errorf("%d files, %v", len(files), err)
		}
		defer files[0].Close()
		fd = int(files[0].Fd())
	}
	switch r.IntN(3) {
	case 0:
		return unix.Ftruncate(fd, int64(r.IntN(4096)))
	case 1:
		return unix.Ftruncate(fd, 4097+r.Int64N(1<<30))
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	return err
}

// ownProxy is a function that turns on the proxy beside it.
func ownProxy(_ context.Context, _ *someone, r *rand.Rand, _ knowledge) error {
	var pids []int
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == "proxy" {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return errors.New("no proxy is to be seen")
	}
	pid := one(r, pids)
	switch r.IntN(5) {
	case 0:
		return unix.Kill(pid, 0) // whether it could
	case 1:
		_, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return err
	case 2:
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err
	}
	path := one(r, []string{"/proxy", fmt.Sprintf("/proc/%d/mem", pid)})
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_ = f.Close()
	}
	return err
}
