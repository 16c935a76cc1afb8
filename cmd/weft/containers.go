package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/deploy/images"
	"github.com/weft-stream/weft/localwhisk"
)

// hookMount is where containers find the hook's folder, with its socket alone in it.
const hookMount = "/run/weft"

// useDocker makes the platform's containers Docker's, with images built where they are missing, and the
// hook's socket in each.
func (l *local) useDocker(ctx context.Context, cfg *localwhisk.Config, proxy string, o localOptions) error {
	built, err := buildImages(ctx, proxy, o)
	if err != nil {
		return err
	}
	cfg.Runtimes = map[string]localwhisk.Runtime{}
	for kind, image := range built {
		for _, k := range []string{kind, images.WeftKind(kind)} {
			cfg.Runtimes[k] = localwhisk.Runtime{Image: image}
		}
		cfg.Blackboxes = append(cfg.Blackboxes, image)
	}
	cfg.Docker = &localwhisk.Docker{}
	hook := l.hookAt
	if o.hook == "" {
		cfg.Docker.ExtraArgs = map[string][]string{"volume": {filepath.Join(l.state, "hook") + ":" + hookMount + ":ro"}}
		hook = "unix:" + hookMount + "/hook.sock"
	}
	cfg.ExtraEnv = []string{"WEFT_HOOK=" + hook}
	return nil
}

// buildImages are the runtime images, by kind.
func buildImages(ctx context.Context, proxy string, o localOptions) (map[string]string, error) {
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return nil, exitWith(exitMissing, fmt.Errorf("connect to Docker: %w", err))
	}
	defer docker.Close()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil, exitWith(exitMissing, fmt.Errorf("docker does not answer; is its daemon running, and may this user call it (DOCKER_HOST names another)? %w", err))
	}
	var kinds []string
	for _, i := range images.All() {
		kinds = append(kinds, i.Kind)
	}
	b := images.Builder{Docker: docker, Proxy: proxy, Version: version, Note: o.note}
	built, err := b.Ensure(ctx, kinds...)
	return built, exitWith(exitMissing, err)
}

func newImages() *cobra.Command {
	return &cobra.Command{
		Use:   "images",
		Short: "Build the runtime images that Docker has not",
		Long: `  weft images > runtimes.json

Build the runtime images that Docker has not, on a tree of Debian packages, and print the runtimes
manifest that names them. On a public base: docker build -f deploy/images/python/Dockerfile bin`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			bins, err := findBinaries("actionproxy")
			if err != nil {
				return exitWith(exitMissing, err)
			}
			built, err := buildImages(c.Context(), bins["actionproxy"], localOptions{note: c.ErrOrStderr()})
			if err != nil {
				return err
			}
			b, err := images.Manifest(built)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
			return nil
		},
	}
}
