package invokerhook_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/kafkatest"
)

// await calls something until it holds.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestMessagesThatWereDeleted: the broker deletes what the hook has not read, as retention does, while the
// hook can't reach it; it goes on with what is left.
func TestMessagesThatWereDeleted(t *testing.T) {
	t.Parallel()
	k := topicsOn(t, kafkatest.Shared(t))
	s := newSiteOn(t, k, nil)
	s.deadline = 5 * time.Minute // nobody renews here
	p := s.staff(240_000)
	s.broker.cut(true)
	for range 100 {
		s.produce("completed0", `{"lost":1}`)
	}
	if err := k.admin(t).DeleteRecords(s.topic("completed0"), map[int32]int64{0: 100}); err != nil {
		t.Fatal(err)
	}
	s.broker.cut(false)
	s.fail(p["out"].lease.activation, "it is over")
	if f := s.next(); f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
}

// TestTopicMadeAnew: a platform's topic is deleted and made again, and has more messages by then than the
// former had when the hook looks: all of them are read.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	k := topicsOn(t, kafkatest.Shared(t))
	s := newSiteOn(t, k, nil)
	s.deadline = 5 * time.Minute // nobody renews here
	p := s.staff(240_000)
	s.produce("completed0", `{"activationId":"x","instance":{},"isSystemError":false,"transid":["t",1]}`)
	s.broker.cut(true)
	if err := k.admin(t).DeleteTopic(s.topic("completed0")); err != nil {
		t.Fatal(err)
	}
	await(t, "the topic is made again", func() bool {
		err := k.admin(t).CreateTopic(s.topic("completed0"), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		return err == nil || errors.Is(err, sarama.ErrTopicAlreadyExists)
	})
	s.fail(p["out"].lease.activation, "it is over")
	for range 10 {
		s.produce("completed0", `{"activationId":"y","instance":{},"isSystemError":false,"transid":["t",1]}`)
	}
	s.broker.cut(false)
	if f := s.next(); f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
}

// TestCompactionOfTheRegistry: while brokers compact the registry all the time, successors read what was
// written last.
func TestCompactionOfTheRegistry(t *testing.T) {
	t.Parallel()
	k := topicsOn(t, kafkatest.Shared(t))
	small, now, ratio := "1000", "1", "0.001"
	compact := "compact"
	err := k.admin(t).CreateTopic(k.prefix+"weft.registry", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{
		"cleanup.policy": &compact, "segment.ms": &small, "max.compaction.lag.ms": &now, "min.cleanable.dirty.ratio": &ratio,
		"delete.retention.ms": &now, "min.compaction.lag.ms": func() *string { z := "0"; return &z }()}}, false)
	if err != nil {
		t.Fatal(err)
	}
	s := newSiteOn(t, k, nil)
	s.deadline = 5 * time.Minute // nobody renews here
	p := s.staff(240_000)
	for term := uint32(2); term < 8; term++ {
		for range 3 {
			p["in"].send(control.TypeRestarted, p["in"].state()) // each is written
		}
		if err := s.hook.Close(); err != nil {
			t.Fatal(err)
		}
		s.open()
		for stage, w := range p {
			if r := w.comeBack(s.addr); !r.Keep {
				t.Fatalf("%s was sent away: %s", stage, r.Reason)
			}
		}
		s.until("of the next term", func(st control.PipelineStatus) bool { return st.Term == term && st.Phase == control.Running })
		time.Sleep(600 * time.Millisecond) // let segments become old enough to be compacted: no condition shows that
	}
}

// TestRestartOfKafka: with its data, the pipeline goes on as it was. Without, its owner, which has all of
// it, makes the registry again; a hook that starts then says what it does not know.
func TestRestartOfKafka(t *testing.T) {
	t.Parallel()
	c := kafkatest.New(t, kafkatest.Config{})
	b := c.Brokers[0]
	s := newSiteOn(t, topicsOn(t, c), nil)
	s.deadline = 5 * time.Minute // nobody renews here
	p := s.staff(240_000)
	b.Stop()
	await(t, "the outage shows", func() bool { return s.hookStatus().KafkaSilentMS > 0 })
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "Kafka answers again", func() bool { return s.hookStatus().KafkaSilentMS == 0 })
	s.until("as it was", func(st control.PipelineStatus) bool { return st.Phase == control.Running && st.Term == 1 })

	b.Kill()
	if err := errors.Join(b.Wipe(t.Context()), b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.create(t, 1, "completed0", "invoker0", "health", "events")
	p["in"].send(control.TypeRestarted, p["in"].state()) // to be written
	s.logged("the registry's topic is gone, with all records")
	await(t, "the record is there again", func() bool { return len(s.messages("weft.registry")) > 1 })
	_ = s.hook.Close()
	s.open()
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	s.until("taken over", func(st control.PipelineStatus) bool { return st.Term == 2 })

	// Nobody who knew it is left.
	_ = s.hook.Close()
	b.Kill()
	if err := errors.Join(b.Wipe(t.Context()), b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.open()
	if r := p["in"].comeBack(s.addr); r.Keep || !strings.Contains(r.Reason, "no pipeline guest/p is known here") {
		t.Fatalf("a worker of a lost pipeline: %+v", r)
	}
	s.logged("its records were lost with the topic")
	s.logged("worker of a pipeline that the registry does not have")
}

// TestCoordinatorMoves: of three brokers the one that coordinates the registry's transactions, and then each
// other, is killed; every state is written, by the same owner.
func TestCoordinatorMoves(t *testing.T) {
	t.Parallel()
	c := kafkatest.New(t, kafkatest.Config{Brokers: 3})
	s := newSiteOn(t, topicsOn(t, c), nil)
	s.deadline = 5 * time.Minute // nobody renews here
	p := s.staff(240_000)
	for i, b := range c.Brokers {
		b.Kill()
		p["out"].send(control.TypeRestarted, p["out"].state())
		await(t, fmt.Sprintf("restart %d is known", i+1), func() bool { return s.status().Restarts == i+1 })
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.hook.Close()
	s.open()
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	s.until("all is known", func(st control.PipelineStatus) bool {
		return st.Restarts == 3 && st.Term == 2 && st.Phase == control.Running
	})
}

// TestKafkaComesLater: a hook that is there first waits.
func TestKafkaComesLater(t *testing.T) {
	s := newSite(t, nil)
	_ = s.hook.Close()
	s.broker.cut(true)
	opened := make(chan error, 1)
	go func() {
		_, err := newHook(s)
		opened <- err
	}()
	s.logged("waiting for it")
	s.broker.cut(false)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}
