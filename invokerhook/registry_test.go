package invokerhook

import (
	"errors"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
)

func newBroker(t *testing.T, topics ...string) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func TestRegistryTakeOverFencesThePredecessor(t *testing.T) {
	r, err := openRegistry(newBroker(t), &KafkaAccess{}, "weft.registry", newTestVault(t, 1), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	first, err := r.openLedger(t.Context(), "guest/p")
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	for term := range uint32(3) {
		if err := first.write(t.Context(), record{Term: term + 1, Snapshot: []byte("a")}); err != nil {
			t.Fatal(err)
		}
	}
	second, err := r.openLedger(t.Context(), "guest/p")
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	got, err := r.read(t.Context())
	if err != nil || got["guest/p"].Term != 3 {
		t.Fatalf("read %+v, %v", got, err)
	}
	if err := second.write(t.Context(), record{Term: 4, Snapshot: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	if err := first.write(t.Context(), record{Term: 3, Snapshot: []byte("late")}); !errors.Is(err, errFenced) {
		t.Fatalf("the predecessor's write: %v", err)
	}
	if got, err = r.read(t.Context()); err != nil || got["guest/p"].Term != 4 || len(got) != 1 {
		t.Fatalf("read %+v, %v", got, err)
	}
}
