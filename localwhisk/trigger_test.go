package localwhisk_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/localwhisk"
)

// want makes a call and checks its status; text must be in the answer.
func want(t *testing.T, p *localwhisk.Platform, status int, text, method, path, body string) answered {
	t.Helper()
	a := call(t, p, method, path, body)
	if a.status != status || !strings.Contains(a.body, text) {
		t.Fatalf("%s %s %s: %d %s; want %d %s", method, path, body, a.status, a.body, status, text)
	}
	return a
}

// fired fires a trigger and returns the lines of its record.
func fired(t *testing.T, p *localwhisk.Platform, path, body string) []map[string]any {
	t.Helper()
	var id struct{ ActivationID string }
	a := want(t, p, 202, "activationId", "POST", path, body)
	json.Unmarshal([]byte(a.body), &id)
	if a.header.Get("X-Openwhisk-Activation-Id") != id.ActivationID {
		t.Errorf("headers %v", a.header)
	}
	var out []map[string]any
	for _, line := range record(t, client(t, p), id.ActivationID).Logs {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func TestRules(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	put(t, c, "gone", nil)
	want(t, p, 200, `"version":"0.0.1"`, "PUT", "triggers/t", `{"parameters": [{"key": "from", "value": "trigger"}, {"key": "k", "value": 1}]}`)
	want(t, p, 400, "rule requires a valid trigger and a valid action", "PUT", "rules/r", `{"trigger": "/_/t"}`)
	want(t, p, 400, "trigger /guest/nope does not exist", "PUT", "rules/r", `{"trigger": "/_/nope", "action": "/_/m"}`)
	want(t, p, 200, `"status":"active"`, "PUT", "rules/r", `{"trigger": "/_/t", "action": {"path": "_", "name": "m"}}`)
	want(t, p, 200, `"status":"active"`, "PUT", "rules/off", `{"trigger": "/_/t", "action": "/_/m"}`)
	want(t, p, 200, `"status":"active"`, "PUT", "rules/lost", `{"trigger": "/_/t", "action": "/_/gone"}`)
	want(t, p, 200, "OK", "POST", "rules/off", `{"status": "inactive"}`)
	want(t, p, 400, "maybe is not a recognized rule state", "POST", "rules/off", `{"status": "maybe"}`)
	if err := c.DeleteAction(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	byRule := map[any]map[string]any{}
	for _, l := range fired(t, p, "triggers/t", `{"from": "fire", "mode": "env"}`) {
		byRule[l["rule"]] = l
	}
	if l := byRule["guest/off"]; l["success"] != false || l["statusCode"] != 1.0 || l["error"] != "Rule 'guest/off' is inactive, action 'guest/m' was not activated." {
		t.Errorf("inactive rule: %v", l)
	}
	if l := byRule["guest/lost"]; l["success"] != false || l["error"] != "The requested resource does not exist." {
		t.Errorf("rule whose action is gone: %v", l)
	}
	id, _ := byRule["guest/r"]["activationId"].(string)
	a := record(t, c, id)
	seen := result[struct {
		Run struct{ Value map[string]any }
	}](t, a.Response.Result).Run.Value
	headers, _ := seen["__ow_headers"].(map[string]any)
	if seen["from"] != "fire" || seen["k"] != 1.0 || headers["authorization"] != key(p) {
		t.Errorf("the action saw %v", seen)
	}
	// An update keeps the status, and moves the rule to its new trigger.
	want(t, p, 200, "", "PUT", "triggers/t2", "")
	want(t, p, 200, `"status":"inactive"`, "PUT", "rules/off?overwrite=true", `{"trigger": "/_/t2"}`)
	if a := want(t, p, 200, "guest/r", "GET", "triggers/t", ""); strings.Contains(a.body, "guest/off") {
		t.Errorf("the old trigger still has the rule: %s", a.body)
	}
	want(t, p, 204, "", "POST", "triggers/t2", "{}")
	want(t, p, 200, `"version":"0.0.2"`, "PUT", "triggers/t?overwrite=true", `{"publish": true}`)
	want(t, p, 200, `"key":"k"`, "GET", "triggers/t", "")
	// A rule is inactive once its trigger is gone, and cannot be made active.
	want(t, p, 200, "", "DELETE", "triggers/t", "")
	want(t, p, 200, `"status":"inactive"`, "GET", "rules/r", "")
	want(t, p, 404, "Only rules with existing triggers", "POST", "rules/r", `{"status": "active"}`)
	want(t, p, 200, "", "DELETE", "rules/r", "")
	want(t, p, 404, "", "DELETE", "rules/r", "")
	want(t, p, 400, "Feed name is not valid", "PUT", "triggers/f", `{"annotations": [{"key": "feed", "value": 7}]}`)
	want(t, p, 200, `"triggers":1`, "GET", "triggers?count=true", "")
	want(t, p, 200, `"rules":2`, "GET", "rules?count=true", "")
	// All collections share their names.
	want(t, p, 409, "not in this collection", "GET", "triggers/m", "")
	want(t, p, 409, "not in this collection", "PUT", "packages/m", "{}")
	want(t, p, 409, "not in this collection", "DELETE", "actions/t2", "")
}

// TestTextStays checks that what an action answers is passed on as it wrote it.
func TestTextStays(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	const text = `{"html":"<b> & </b>"}`
	body := `{"mode": "answer", "answer": "{\"html\":\"<b> & </b>\"}"}`
	a := want(t, p, 200, text, "POST", "actions/m?blocking=true", body)
	want(t, p, 200, text, "POST", "actions/m?blocking=true&result=true", body)
	record(t, c, a.header.Get("X-Openwhisk-Activation-Id"))
	want(t, p, 200, text, "GET", "activations/"+a.header.Get("X-Openwhisk-Activation-Id"), "")
	if a := call(t, p, "GET", "/api/v1/namespaces/whisk.system/packages", "", "Authorization", key(p)); a.status != 200 || a.body != "[]" {
		t.Errorf("public packages of another namespace: %d %s", a.status, a.body)
	}
}

// TestThrottles fires and calls up to the limits and one beyond, in a minute
// that does not end.
func TestThrottles(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	p, c := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.StockLimits()
		c.Limits.FiresPerMinute, c.Limits.InvocationsPerMinute = 3, 2
		c.Now = func() time.Time { return now }
	})
	put(t, c, "m", nil)
	want(t, p, 200, "", "PUT", "triggers/t", "")
	want(t, p, 200, "", "PUT", "rules/r", `{"trigger": "/_/t", "action": "/_/m"}`)
	for i := range 3 {
		l := fired(t, p, "triggers/t", "{}")[0]
		if ok := i < 2; l["success"] != ok || !ok && l["error"] != "Too many requests in the last minute (count: 3, allowed: 2)." {
			t.Errorf("fire %d: %v", i, l)
		}
	}
	want(t, p, 429, "Too many requests in the last minute (count: 4, allowed: 3).", "POST", "triggers/t", "{}")
	want(t, p, 429, "Too many requests in the last minute (count: 4, allowed: 2).", "POST", "actions/m", "{}")
	putWeb(t, c, "w")
	if a := call(t, p, "GET", "/api/v1/web/guest/default/w.json", ""); a.status != 429 {
		t.Errorf("web action: %d %s", a.status, a.body)
	}
}

func TestBindings(t *testing.T) {
	p, c := start(t, nil)
	want(t, p, 200, "", "PUT", "packages/p", `{"parameters": [{"key": "a", "value": "package"}, {"key": "b", "value": "package"}, {"key": "c", "value": "package"}, {"key": "d", "value": "package"}]}`)
	want(t, p, 200, `"binding":{"name":"p","namespace":"guest"}`, "PUT", "packages/b", `{"binding": {"namespace": "_", "name": "p"}, "parameters": [{"key": "b", "value": "binding"}, {"key": "c", "value": "binding"}, {"key": "d", "value": "binding"}]}`)
	want(t, p, 400, "Binding references a package that does not exist.", "PUT", "packages/x", `{"binding": {"namespace": "_", "name": "nope"}}`)
	want(t, p, 400, "Cannot bind to another package binding.", "PUT", "packages/x", `{"binding": {"namespace": "_", "name": "b"}}`)
	want(t, p, 409, "Resource is a package and cannot be converted into a binding.", "PUT", "packages/p?overwrite=true", `{"binding": {"namespace": "_", "name": "p"}}`)
	want(t, p, 400, "Package name 'default' is reserved.", "PUT", "packages/default", "{}")
	const action = `{"exec": {"kind": "go:1.26", "code": "eA=="}, "annotations": [{"key": "final", "value": %v}], "parameters": [{"key": "c", "value": "action"}, {"key": "d", "value": "action"}, {"key": "free", "value": null}]}`
	want(t, p, 200, "", "PUT", "actions/p/m", fmt.Sprintf(action, false))
	want(t, p, 400, "Operation not permitted on package binding.", "PUT", "actions/b/n", fmt.Sprintf(action, false))
	want(t, p, 400, "Operation not permitted on package binding.", "DELETE", "actions/b/m", "")
	// The later wins: package, binding, action, call.
	want(t, p, 200, `{"got":{"a":"package","b":"binding","c":"action","d":"call","free":null}}`, "POST", "actions/b/m?blocking=true&result=true", `{"d": "call"}`)
	want(t, p, 200, `{"got":{"a":"package","b":"package","c":"action","d":"action","free":1}}`, "POST", "actions/p/m?blocking=true&result=true", `{"free": 1}`)
	want(t, p, 200, `"value":"binding"`, "GET", "actions/b/m", "")
	want(t, p, 200, `"name":"m"`, "GET", "actions/b/", "")
	list := want(t, p, 200, `"binding","value":"guest/b"`, "GET", "activations?name=b/m&docs=true", "")
	if strings.Count(list.body, "activationId") != 1 || !strings.Contains(list.body, `"value":"guest/p/m"`) {
		t.Errorf("by the binding's name: %s", list.body)
	}
	want(t, p, 400, "not permitted with 'count'", "GET", "activations?count=true&docs=true", "")
	// Once final, nothing that has a value may be set by a call, wherever the value comes from.
	want(t, p, 200, "", "PUT", "actions/p/m?overwrite=true", fmt.Sprintf(action, true))
	for _, k := range []string{"a", "b", "c"} {
		want(t, p, 400, "not allowed", "POST", "actions/b/m", `{"`+k+`": 1}`)
	}
	want(t, p, 202, "", "POST", "actions/b/m", `{"free": 1, "other": 2}`)
	want(t, p, 409, "Package not empty (contains 1 entity). Set force param or delete package contents.", "DELETE", "packages/p", "")
	want(t, p, 200, "", "DELETE", "packages/p?force=true", "")
	want(t, p, 404, "", "GET", "actions/p/m", "")
	want(t, p, 404, "", "POST", "actions/b/m", "{}")
	want(t, p, 200, "", "DELETE", "packages/b", "")
	if packs, err := c.ListPackages(t.Context(), listAll); err != nil || len(packs) != 0 {
		t.Errorf("left: %v, %v", packs, err)
	}
}
