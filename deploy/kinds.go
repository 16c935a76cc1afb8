package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-stream/weft/openwhisk"
)

// weftSuffix ends the kinds of a cluster whose images run Weft's proxy: "python:3-weft".
const weftSuffix = "-weft"

// onWeft has the actions run where Weft's proxy is. An action of python:3 becomes one of python:3-weft, or,
// where the cluster has no such kind, one with Weft's image of its own (blackbox). Other kinds stay: their
// images are the user's matter.
func (d *Deployer) onWeft(ctx context.Context, actions map[string]openwhisk.Action) error {
	kinds, err := d.Client.Kinds(ctx)
	if err != nil {
		return fmt.Errorf("read the platform's kinds: %w", err)
	}
	for _, a := range actions {
		kind := a.Exec.Kind
		image, known := d.Images[kind]
		switch {
		case slices.Contains(kinds, kind+weftSuffix):
			a.Exec.Kind = kind + weftSuffix
		case known:
			a.Exec.Kind, a.Exec.Image = openwhisk.KindBlackbox, image
		}
	}
	return nil
}
