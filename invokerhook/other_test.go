package invokerhook_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/identity"
)

// job is what the program in a container is told to do: one thing, or N attempts of an attack whose fields
// the seed varies.
type job struct {
	Do   string
	N    int
	Seed uint64
	Know knowledge
}

// knowledge is what whoever is in the container has found out, or, in a control, was given.
type knowledge struct {
	Hook      string // its address
	Worker    string // what to call itself
	Lease     control.Lease
	Step      control.Step
	Key       []byte // the cluster's: only in a control
	Inventory *control.Inventory
	Addrs     []string // of others
	Keys      []string // OpenWhisk's
	Own       bool     // use the certificate that was given to it
}

// outcome of a job. Why counts what failed attempts were answered.
type outcome struct {
	Err       string
	Reply     control.LeaseReply
	Attempts  int
	Successes int
	Why       map[string]int
}

// someone is the program: what it has kept from job to job.
type someone struct {
	conn     *control.Conn // to Know.Hook, with an accepted hello
	messages chan string   // types of what the hook has said on it
	key      *identity.Key
	given    *control.Assignment
	eaten    [][]byte
}

// other reads jobs and writes outcomes, a line each. As "gateway" it only says where the host is.
func other(as string) error {
	if as == "gateway" {
		return gateway()
	}
	s := &someone{messages: make(chan string, 1000)}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var j job
		if err := json.Unmarshal(in.Bytes(), &j); err != nil {
			return err
		}
		b, err := json.Marshal(s.do(j))
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", b)
	}
	return in.Err()
}

// gateway prints the address of the default route.
func gateway() error {
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(routes)) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "00000000" {
			b, err := hex.DecodeString(f[2])
			if err != nil || len(b) != 4 {
				return fmt.Errorf("route %q", line)
			}
			fmt.Println(netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}))
			return nil
		}
	}
	return errors.New("there is no default route")
}

func (s *someone) do(j job) (o outcome) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	switch j.Do {
	case "nothing":
	case "hello":
		err = s.hello(ctx, j.Know, nil)
	case "lease":
		o.Reply, err = s.lease(ctx, j.Know)
	case "step":
		err = s.step(ctx, j.Know)
	case "eat":
		for { // until it is killed for it
			b := make([]byte, 8<<20)
			for i := range b {
				b[i] = byte(i)
			}
			s.eaten = append(s.eaten, b)
		}
	default:
		return s.attack(ctx, j)
	}
	if err != nil {
		o.Err = err.Error()
	}
	return o
}

// hello registers as a worker, and keeps the connection.
func (s *someone) hello(ctx context.Context, k knowledge, inv *control.Inventory) error {
	c, err := control.Dial(ctx, k.Hook, func(m *control.Message, _ bool, _ func(control.Answer)) {
		select {
		case s.messages <- m.Type:
		default:
		}
	})
	if err != nil {
		return err
	}
	var reply control.HelloReply
	files, err := c.CallFiles(ctx, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: k.Worker, Inventory: inv}, &reply)
	if err == nil {
		_, err = beat(c, files)
	}
	if err == nil && !reply.Keep {
		err = fmt.Errorf("not kept: %s", reply.Reason)
	}
	if err != nil {
		_ = c.Close()
		return err
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
	s.conn = c
	return nil
}

// ready makes sure of an accepted hello.
func (s *someone) ready(ctx context.Context, k knowledge) error {
	if s.conn != nil {
		select {
		case <-s.conn.Done():
		default:
			return nil
		}
	}
	return s.hello(ctx, k, nil)
}

func (s *someone) lease(ctx context.Context, k knowledge) (reply control.LeaseReply, err error) {
	if err := s.ready(ctx, k); err != nil {
		return reply, err
	}
	if s.key == nil {
		if s.key, err = identity.NewKey(); err != nil {
			return reply, err
		}
	}
	k.Lease.CSR = s.key.Request()
	_, err = s.conn.Call(ctx, control.TypeLease, k.Lease, nil, &reply)
	if reply.Verdict == control.Take {
		s.given = reply.Assignment
	}
	return reply, err
}

func (s *someone) step(ctx context.Context, k knowledge) error {
	if err := s.ready(ctx, k); err != nil {
		return err
	}
	_, err := s.conn.Call(ctx, control.TypeStep, k.Step, nil, nil)
	return err
}

// attack makes N attempts.
func (s *someone) attack(ctx context.Context, j job) outcome {
	o := outcome{Why: map[string]int{}}
	try := attacks[j.Do]
	if try == nil {
		o.Err = "there is no attack " + j.Do
		return o
	}
	r := rand.New(rand.NewPCG(j.Seed, 0))
	for range j.N {
		o.Attempts++
		err := try(ctx, s, r, j.Know)
		if err == nil {
			o.Successes++
			continue
		}
		if text := err.Error(); len(o.Why) < 20 || o.Why[text] > 0 {
			o.Why[text]++
		}
	}
	return o
}
