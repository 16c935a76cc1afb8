package localwhisk

import (
	"encoding/json"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// instance is the one invoker, as messages carry it.
func (p *Platform) instance() openwhisk.InstanceID {
	return openwhisk.InstanceID{DedicatedNamespaces: []string{}, DisplayedName: "127.0.0.1", InstanceType: "invoker",
		Tags: []string{}, UniqueName: "invoker0", UserMemory: byteSize(p.cfg.UserMemoryMB)}
}

// pingLoop says once a second that the invoker lives.
func (p *Platform) pingLoop() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		p.broker.send(openwhisk.TopicHealth, openwhisk.PingMessage{IsEnabled: true, Name: p.instance()})
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Platform) event(source, kind string, body any) {
	p.broker.send(openwhisk.TopicEvents, openwhisk.EventMessage{Body: mustJSON(body), EventType: kind, Namespace: p.cfg.Namespace,
		Source: source, Subject: p.cfg.Namespace, Timestamp: p.cfg.Now().UnixMilli(), UserID: p.uuid})
}

func (c *controller) metric(name string, value int64) {
	c.p.event("controller0", openwhisk.EventMetric, openwhisk.MetricEvent{MetricName: name, MetricValue: value})
}

// activationEvent says how an activation ended; its numbers are those of the
// record's annotations.
func (p *Platform) activationEvent(source string, a *openwhisk.Activation, memory int) {
	e := openwhisk.ActivationEvent{ActivationID: a.ActivationID, Conductor: a.Annotations.Truthy("conductor"),
		Duration: a.Duration, Memory: memory, Size: a.Response.Size, StatusCode: a.Response.StatusCode}
	for key, to := range map[string]any{"causedBy": &e.CausedBy, "initTime": &e.InitTime, "kind": &e.Kind,
		"path": &e.Name, "waitTime": &e.WaitTime} {
		if v := a.Annotations.Get(key); v != nil {
			json.Unmarshal(v, to)
		}
	}
	p.event(source, openwhisk.EventActivation, e)
}

// changed tells other controllers, if there were any, that an entity changed.
func (p *Platform) changed(n openwhisk.Name) {
	var m openwhisk.CacheInvalidation
	m.InstanceID, m.Key.MainID = "controller0", n.String()
	p.broker.send(openwhisk.TopicCacheInvalidation, m)
}
