package openwhisk

import (
	"context"
	"net/url"
	"strconv"
)

// ListOptions choose a page of a list.
type ListOptions struct {
	Limit int // at most 200; 0: the platform's default of 30
	Skip  int
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Skip > 0 {
		q.Set("skip", strconv.Itoa(o.Skip))
	}
	return q
}

func overwriteQuery(overwrite bool) url.Values {
	if !overwrite {
		return nil
	}
	return url.Values{"overwrite": {"true"}}
}

// PutAction creates an action, or updates it if overwrite is set, and returns
// it as stored. Without overwrite an existing one is a 409.
func (c *Client) PutAction(ctx context.Context, name string, a Action, overwrite bool) (Action, error) {
	var out Action
	p, err := c.entity(name, "actions")
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, "PUT", p, overwriteQuery(overwrite), a, &out)
}

// GetAction returns an action with its code.
func (c *Client) GetAction(ctx context.Context, name string) (Action, error) {
	var out Action
	p, err := c.entity(name, "actions")
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", p, nil, nil, &out)
}

// DeleteAction deletes an action; its containers age out.
func (c *Client) DeleteAction(ctx context.Context, name string) error {
	p, err := c.entity(name, "actions")
	if err != nil {
		return err
	}
	return c.call(ctx, "DELETE", p, nil, nil, nil)
}

// ListActions returns a page of the namespace's actions, without code.
func (c *Client) ListActions(ctx context.Context, o ListOptions) ([]Action, error) {
	var out []Action
	return out, c.call(ctx, "GET", c.collection("", "actions"), o.query(), nil, &out)
}

// PutPackage creates a package, or updates it if overwrite is set.
func (c *Client) PutPackage(ctx context.Context, name string, p Package, overwrite bool) (Package, error) {
	var out Package
	path, err := c.entity(name, "packages")
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, "PUT", path, overwriteQuery(overwrite), p, &out)
}

// GetPackage returns a package with the short form of its actions.
func (c *Client) GetPackage(ctx context.Context, name string) (Package, error) {
	var out Package
	path, err := c.entity(name, "packages")
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", path, nil, nil, &out)
}

// DeletePackage deletes an empty package; one with actions in it is a 409.
func (c *Client) DeletePackage(ctx context.Context, name string) error {
	path, err := c.entity(name, "packages")
	if err != nil {
		return err
	}
	return c.call(ctx, "DELETE", path, nil, nil, nil)
}

// ListPackages returns a page of the namespace's packages.
func (c *Client) ListPackages(ctx context.Context, o ListOptions) ([]Package, error) {
	var out []Package
	return out, c.call(ctx, "GET", c.collection("", "packages"), o.query(), nil, &out)
}

// Limits returns the effective limits of the client's namespace.
func (c *Client) Limits(ctx context.Context) (NamespaceLimits, error) {
	var out NamespaceLimits
	return out, c.call(ctx, "GET", c.collection("", "limits"), nil, nil, &out)
}

// Kinds returns the kinds of actions that the platform runs.
func (c *Client) Kinds(ctx context.Context) ([]string, error) {
	var out struct {
		Runtimes map[string][]struct {
			Kind string `json:"kind"`
		} `json:"runtimes"`
	}
	if err := c.call(ctx, "GET", "/", nil, nil, &out); err != nil {
		return nil, err
	}
	var kinds []string
	for _, family := range out.Runtimes {
		for _, r := range family {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds, nil
}

// Namespaces returns the names of the namespaces that the key opens.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	var out []string
	return out, c.call(ctx, "GET", "/api/v1/namespaces", nil, nil, &out)
}
