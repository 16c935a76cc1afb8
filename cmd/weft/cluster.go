package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
)

// cluster are the flags of commands that work against an OpenWhisk.
type cluster struct {
	apihost, auth, hook string
	insecure            bool
}

func (cl *cluster) flags(c *cobra.Command) {
	c.Flags().StringVar(&cl.apihost, "apihost", "", "OpenWhisk API host (default: APIHOST of ~/.wskprops)")
	c.Flags().StringVarP(&cl.auth, "auth", "u", "", "OpenWhisk key, uuid:key (default: AUTH of ~/.wskprops)")
	c.Flags().BoolVarP(&cl.insecure, "insecure", "i", false, "accept any TLS certificate")
}

func (cl *cluster) hookFlag(c *cobra.Command) {
	c.Flags().StringVar(&cl.hook, "hook", "", "the hook: unix:PATH or tcp:HOST:PORT (default: WEFT_HOOK, then "+control.DefaultAddress+")")
}

// hookAddress is where the hook is said to be.
func (cl *cluster) hookAddress() string {
	if cl.hook != "" {
		return cl.hook
	}
	if env := os.Getenv("WEFT_HOOK"); env != "" {
		return env
	}
	return control.DefaultAddress
}

// client reads ~/.wskprops, or the file WSK_CONFIG_FILE names, for what the flags leave out.
func (cl *cluster) client() (*openwhisk.Client, string, error) {
	path := os.Getenv("WSK_CONFIG_FILE")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, "", exitWith(exitMissing, fmt.Errorf("find ~/.wskprops: %w", err))
		}
		path = filepath.Join(home, ".wskprops")
	}
	props, err := openwhisk.ReadWskProps(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", exitWith(exitMissing, err)
	}
	cfg := props.Config()
	if cl.apihost != "" {
		cfg.APIHost = cl.apihost
	}
	if cl.auth != "" {
		cfg.Auth = cl.auth
	}
	cfg.Insecure = cfg.Insecure || cl.insecure
	if cfg.APIHost == "" || cfg.Auth == "" {
		return nil, "", exitWith(exitUsage, fmt.Errorf("no API host or key: set them in %s, or give --apihost and --auth", path))
	}
	c, err := openwhisk.NewClient(cfg)
	return c, cfg.Auth, exitWith(exitUsage, err)
}

// platformError chooses the exit code of an error of the platform.
func platformError(err error) error {
	if err == nil {
		return nil
	}
	var api *openwhisk.APIError
	if errors.As(err, &api) {
		return exitWith(exitRefused, err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return exitWith(exitUnreachable, err)
}
