package invokerhook_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/kafkatest"
	"github.com/weft-stream/weft/pipeline"
)

// TestHookBesideOthers measures what a hook with 200 workers costs while 500 activations of others go over
// Kafka each second, with 1 KiB of parameters and of result: its share of a core, and its memory. make bench
// prints it; it asserts nothing of times, only that nothing is skipped.
func TestHookBesideOthers(t *testing.T) {
	if os.Getenv("WEFT_BENCH") == "" {
		t.Skip("make bench runs it: WEFT_BENCH=1 go test -run HookBesideOthers -v ./invokerhook")
	}
	const workers, rate, seconds = 200, 500, 20
	s := newSiteOn(t, topicsOn(t, kafkatest.Shared(t)), nil)
	_ = s.hook.Close()
	s.limits = `{"concurrentInvocations":1000,"invocationsPerMinute":60000}`
	hook := s.spawn()
	pl := twoStages(240_000)
	pl.Stages = append(pl.Stages, pipeline.Stage{Name: "f", Replicas: pipeline.Replicas{Min: workers - 2, Max: workers - 2}, Function: &pipeline.Function{Action: "/guest/f"}})
	pl.Edges = []pipeline.Edge{{From: "in", To: "f", Routing: pipeline.Balance}, {From: "f", To: "out", Routing: pipeline.Balance}}
	newProxy(t, s.addr).call(control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}, nil)
	for range workers {
		p := newProxy(t, s.addr)
		if r := p.bring(s.next()); r.Verdict != control.Take {
			t.Fatalf("%+v", r)
		}
		p.send(control.TypeReady, p.state())
	}
	s.until("running", func(st control.PipelineStatus) bool { return st.Phase == control.Running })

	usedBefore, began := cpuOf(t, hook.Process.Pid), time.Now()
	quiet := 5 * time.Second
	time.Sleep(quiet)
	atRest := (cpuOf(t, hook.Process.Pid) - usedBefore).Seconds() / time.Since(began).Seconds()

	cfg := sarama.NewConfig()
	cfg.Producer.Flush.Frequency = 5 * time.Millisecond
	out, err := sarama.NewAsyncProducer(s.brokers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range out.Errors() {
			t.Error(e)
		}
	}()
	text := strings.Repeat("x", 1024)
	usedBefore, began = cpuOf(t, hook.Process.Pid), time.Now()
	tick := time.NewTicker(time.Second / rate)
	for n := range rate * seconds {
		<-tick.C
		id := fmt.Sprintf("%032x", 1<<40+n)
		for topic, m := range map[string]string{
			"invoker0":   `{"transid":["t",1],"action":{"path":"other","name":"a","version":"0.0.1"},"revision":"1-x","user":{"subject":"o","namespace":{"name":"other","uuid":"u"},"authkey":{"api_key":"u:k"},"rights":["READ"],"limits":{}},"activationId":"` + id + `","rootControllerIndex":{"asString":"0","instanceType":"controller"},"blocking":true,"content":{"x":"` + text + `"},"initArgs":[],"lockedArgs":{}}`,
			"completed0": `{"transid":["t",1],"response":{"namespace":"other","name":"a","subject":"o","activationId":"` + id + `","start":1,"end":2,"response":{"statusCode":0,"result":{"x":"` + text + `"}},"logs":[],"version":"0.0.1","publish":false,"annotations":[{"key":"path","value":"other/a"}],"duration":1},"isSystemError":false,"instance":{"instance":0,"instanceType":"invoker","uniqueName":"0","userMemory":"2048 MB"}}`,
			"events":     `{"source":"invoker0","body":{"name":"other/a","activationId":"` + id + `","statusCode":0,"duration":1,"waitTime":1,"initTime":0,"kind":"go:1.26","conductor":false,"memory":256},"subject":"o","namespace":"other","userId":"u","eventType":"Activation","timestamp":1700000000000}`,
		} {
			out.Input() <- &sarama.ProducerMessage{Topic: s.topic(topic), Value: sarama.StringEncoder(m)}
		}
	}
	used, took := cpuOf(t, hook.Process.Pid)-usedBefore, time.Since(began)
	out.AsyncClose()
	<-done
	if n := s.hookStatus().SkippedKafka; n != 0 {
		t.Errorf("%d messages skipped", n)
	}
	t.Logf("hook with %d workers: %.1f %% of a core at rest, %.1f %% beside %d activations/s; %s resident",
		workers, 100*atRest, 100*used.Seconds()/took.Seconds(), rate*seconds*int(time.Second)/int(took), memoryOf(t, hook.Process.Pid))
}

// cpuOf is what a process has used of processors.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / 100
}

func memoryOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
