package openwhisk_test

import (
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

func TestContainerNames(t *testing.T) {
	for _, c := range []struct {
		name, namespace, action string
		may                     bool
	}{
		{"wsk00_12_guest_count", "guest", "/guest/p.stages/count", true},
		{"wsk00_12_guest_count", "guest", "/guest/p.stages/split", false},
		{"wsk00_12_guest_count", "other", "/other/p.stages/count", false},
		{"wsk00_12_guestcount", "guest", "count", false},
		{"wsk00_1_my_ns_my_action", "my_ns", "my_action", true},
		{"wskkubenode3_7_guest_a", "guest", "a", true},
		{"wskkube_node0_7_guest_a", "guest", "a", true},
		{"wsk00_3_whisksystem_a1", "whisk.system", "/whisk.system/a-1", true},
		{"wsk00_3_prewarm_python3", "guest", "a", true},
		{"wsk00_3_prewarm_python3", "other", "b", true},
	} {
		n, ok := openwhisk.ParseContainerName(c.name)
		if !ok || n.MayRun(c.namespace, c.action) != c.may {
			t.Errorf("%s for %s: %+v, %v", c.name, c.action, n, ok)
		}
	}
	for _, name := range []string{"", "wsk", "wsk00", "wsk00_guest_a", "wsk00_3", "wsk00_3_", "controller0", "kafka_1_guest_a", "_3_guest_a"} {
		if n, ok := openwhisk.ParseContainerName(name); ok {
			t.Errorf("%q is %+v", name, n)
		}
	}
}
