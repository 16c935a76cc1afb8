package invokerhook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// event is the /run of an event's invocation at a container: its status and result.
func (c *crate) event(action, key, event string) string {
	c.t.Helper()
	status, body, err := c.post("/run", map[string]any{"value": rawJSON(event), "namespace": "guest", "action_name": action, "api_key": key,
		"action_version": "0.0.1", "activation_id": "a1", "deadline": fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())})
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprint(status, " ", strings.TrimSpace(body))
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// TestEventsOfContainers: an event's container goes in to the ingress's over their own network, again after
// it was paused. One that is another action's is refused, whatever it says.
func TestEventsOfContainers(t *testing.T) {
	y := newYard(t)
	s := newSite(t, withDocker)
	pl := withIngress()
	pl.Stages[0].TimeoutMS = 20_000
	conductor := y.other("guest_conductor", mount(s.addr, hookIn)...)
	step := control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}
	if o := conductor.do(job{Do: "step", Know: knowledge{Hook: "unix:" + hookIn, Worker: "conductor", Step: step}}); o.Err != "" {
		t.Fatal(o.Err)
	}
	conductor.remove()
	for range 2 {
		f := s.next()
		c := y.proxy("guest_"+f.token.Stage, s.addr)
		c.init("weft:" + map[string]string{"in": "source", "out": "sink"}[f.token.Stage])
		c.run(f)
	}
	s.until("running", func(st control.PipelineStatus) bool { return st.Phase == control.Running })

	const action = "/guest/p.stages/ingress"
	c := y.proxy("guest_ingress", s.addr)
	c.init("weft:ingress")
	for i := range 3 {
		if got, want := c.event(action, guestKey, fmt.Sprintf(`{"n":%d}`, i)), fmt.Sprintf(`200 {"n":%d}`, i); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if i == 1 {
			docker(t, "pause", c.name)
			time.Sleep(5 * time.Second) // longer than a link lives in silence
			docker(t, "unpause", c.name)
		}
	}
	prewarmed := y.proxy("prewarm_go126", s.addr)
	prewarmed.init("weft:ingress")
	if got := prewarmed.event(action, guestKey, `{}`); got != `200 {}` {
		t.Errorf("of a prewarmed one: %s", got)
	}
	for what, c := range map[string]*crate{
		"another action's":    y.proxy("guest_other", s.addr),
		"another namespace's": y.proxy("other_ingress", s.addr),
	} {
		before := s.hook.Refused()[invokerhook.RefusedNamespace]
		c.init("weft:ingress")
		if got := c.event(action, guestKey, `{}`); !strings.Contains(got, "runs no "+action) {
			t.Errorf("%s: %s", what, got)
		}
		if n := s.hook.Refused()[invokerhook.RefusedNamespace]; n != before+1 {
			t.Errorf("%s: %d refused, then %d", what, before, n)
		}
	}
}
