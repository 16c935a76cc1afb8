package localwhisk_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

func TestLists(t *testing.T) {
	_, c := start(t, nil)
	ctx := t.Context()
	if _, err := c.PutPackage(ctx, "p", openwhisk.Package{Parameters: openwhisk.KeyValues{openwhisk.KV("who", "package"), openwhisk.KV("of", "package")}}, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "p/a"} {
		put(t, c, name, func(a *openwhisk.Action) { a.Parameters = openwhisk.KeyValues{openwhisk.KV("who", "action")} })
	}
	actions, err := c.ListActions(ctx, openwhisk.ListOptions{})
	if err != nil || len(actions) != 3 {
		t.Errorf("actions %+v, %v", actions, err)
	}
	if page, err := c.ListActions(ctx, openwhisk.ListOptions{Limit: 2, Skip: 2}); err != nil || len(page) != 1 {
		t.Errorf("second page %+v, %v", page, err)
	}
	if _, err := c.ListActions(ctx, openwhisk.ListOptions{Limit: 201}); err == nil {
		t.Error("a page of 201 passes")
	}
	if packs, err := c.ListPackages(ctx, openwhisk.ListOptions{}); err != nil || len(packs) != 1 || packs[0].Name != "p" {
		t.Errorf("packages %+v, %v", packs, err)
	}
	if err := c.DeletePackage(ctx, "p"); !openwhisk.IsConflict(err) {
		t.Errorf("deleting a package with an action in it: %v", err)
	}
	if _, err := c.PutAction(ctx, "nopack/a", openwhisk.Action{Exec: openwhisk.CodeExec("go:1.26", "eA==", true)}, false); !openwhisk.IsNotFound(err) {
		t.Errorf("an action in a package that is not there: %v", err)
	}

	// The package's parameters, over them the action's, over them the call's.
	inv, err := c.Invoke(ctx, "/_/p/a", params{"own": 1}, openwhisk.InvokeOptions{Blocking: true, Result: true})
	if err != nil || string(inv.Result) != `{"got":{"of":"package","own":1,"who":"action"}}`+"" {
		t.Errorf("%s, %v", inv.Result, err)
	}
	second := invoke(t, c, "p/a", params{"who": "call"})
	if string(second.Result) != `{"got":{"of":"package","who":"call"}}` {
		t.Errorf("%s", second.Result)
	}
	invoke(t, c, "b", nil)
	record(t, c, inv.ActivationID)
	a := record(t, c, second.ActivationID)
	list := func(o openwhisk.ListActivationsOptions) []string {
		t.Helper()
		got, err := c.ListActivations(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, g := range got {
			ids = append(ids, g.ActivationID)
		}
		return ids
	}
	if got := list(openwhisk.ListActivationsOptions{Name: "p/a"}); !slices.Equal(got, []string{second.ActivationID, inv.ActivationID}) {
		t.Errorf("by name: %v", got)
	}
	if got := list(openwhisk.ListActivationsOptions{Name: "p/a", Since: a.Start, Upto: a.Start}); !slices.Contains(got, second.ActivationID) {
		t.Errorf("by time: %v", got)
	}
	if got := list(openwhisk.ListActivationsOptions{Upto: a.Start - 60000}); len(got) != 0 {
		t.Errorf("before all: %v", got)
	}
	if r, err := c.ActivationResult(ctx, second.ActivationID); err != nil || string(r.Result) != string(second.Result) {
		t.Errorf("result %+v, %v", r, err)
	}
	if logs, err := c.ActivationLogs(ctx, second.ActivationID); err != nil || logs == nil {
		t.Errorf("logs %v, %v", logs, err)
	}
}

func TestNamespaceAndFinal(t *testing.T) {
	p, c := start(t, nil)
	ctx := t.Context()
	if ns, err := c.Namespaces(ctx); err != nil || !slices.Equal(ns, []string{p.Namespace()}) {
		t.Errorf("namespaces %v, %v", ns, err)
	}
	if l, err := c.Limits(ctx); err != nil || l.MaxActionTimeout != 300000 || l.MaxParameterSize != "1048576 B" {
		t.Errorf("limits %+v, %v", l, err)
	}
	put(t, c, "f", func(a *openwhisk.Action) {
		a.Parameters = openwhisk.KeyValues{openwhisk.KV("fixed", 1)}
		a.Annotations = openwhisk.KeyValues{openwhisk.KV("final", true)}
	})
	_, err := c.Invoke(ctx, "f", params{"fixed": 2}, openwhisk.InvokeOptions{Blocking: true})
	var e *openwhisk.APIError
	if !errors.As(err, &e) || e.Status != 400 || e.Message != "Request defines parameters that are not allowed (e.g., reserved properties)." {
		t.Errorf("got %v", err)
	}
	if inv := invoke(t, c, "f", params{"free": 2}); inv.Status != 200 {
		t.Errorf("%d %s", inv.Status, inv.Result)
	}
}

// TestOtherNamespaces: what is in them is not even said to be there or not, and nothing may refer to it.
func TestOtherNamespaces(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "a", nil)
	want(t, p, 200, "", "PUT", "triggers/t", "{}")
	for _, x := range []struct{ what, method, path, body string }{
		{"other", "GET", "/api/v1/namespaces/other/actions", ""},
		{"other/x", "GET", "/api/v1/namespaces/other/actions/x", ""},
		{"other/x", "POST", "/api/v1/namespaces/other/actions/x?blocking=true", "{}"},
		{"other/pkg", "PUT", "/api/v1/namespaces/other/actions/pkg/x", "{}"},
		{"other/pkg", "GET", "/api/v1/namespaces/other/packages/pkg", ""},
		{"other/pkg", "PUT", "packages/p", `{"binding": {"namespace": "other", "name": "pkg"}}`},
		{"other/x", "PUT", "actions/s", `{"exec": {"kind": "sequence", "components": ["/_/a", "/other/x", "/other/x"]}}`},
		{"other/t, other/x", "PUT", "rules/r", `{"trigger": "/other/t", "action": "/other/x"}`},
		{"other/pkg/x", "PUT", "rules/r", `{"trigger": "/_/t", "action": "/other/pkg/x"}`},
	} {
		if a := call(t, p, x.method, x.path, x.body, "Authorization", key(p)); a.status != 403 || !strings.Contains(a.body, "not authorized to access '"+x.what+"'.") {
			t.Errorf("%s %s %s: %d %s", x.method, x.path, x.body, a.status, a.body)
		}
	}
	want(t, p, 404, "", "GET", "rules/r", "")
}
