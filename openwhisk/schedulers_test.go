package openwhisk_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

// vector is a message as a deployment with schedulers has it: written after OpenWhisk's source, not recorded.
type vector struct {
	Is    string          `json:"is"`
	Value json.RawMessage `json:"value"`
}

func vectors(t *testing.T, name string) []vector {
	t.Helper()
	f, err := os.Open("testdata/schedulers/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []vector
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var v vector
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// TestDialectsOfInvokers: topics of one name carry activations or orders for containers, told apart by their
// fields; nothing of a message is kept that is a key or a parameter.
func TestDialectsOfInvokers(t *testing.T) {
	orders := map[string]openwhisk.Order{"activation": openwhisk.OrderActivation, "creation": openwhisk.OrderContainerCreation, "deletion": openwhisk.OrderContainerDeletion}
	for i, v := range vectors(t, "invoker") {
		r, err := openwhisk.ParseInvoker(v.Value)
		if err != nil || r.Order != orders[v.Is] || r.Namespace == "" || (r.ActivationID != "") != (v.Is == "activation") || (r.CreationID != "") != (v.Is == "creation") {
			t.Errorf("%d, %s: %+v, %v", i, v.Is, r, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", r), "canary") {
			t.Errorf("%d keeps what it must not: %+v", i, r)
		}
	}
}

// TestAcksOfSchedulers: each kind alone says what it is, in whatever order they come.
func TestAcksOfSchedulers(t *testing.T) {
	for i, v := range vectors(t, "completed") {
		r, err := openwhisk.ParseAckRecord(v.Value)
		if err != nil || r.ActivationID == "" || r.Completed != (v.Is != "result") {
			t.Errorf("%d, %s: %+v, %v", i, v.Is, r, err)
		}
	}
}
