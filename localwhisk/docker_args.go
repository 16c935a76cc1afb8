package localwhisk

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	dockertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// arguments are what OpenWhisk gives docker run:
//
//	--cpu-shares N --memory Mm --memory-swap Mm --network NET -e … --name NAME --cap-drop NET_RAW
//	--cap-drop NET_ADMIN --ulimit nofile=1024:1024 --pids-limit 1024 --log-driver json-file <extra-args> IMAGE
func (d *dockerEngine) arguments(o order) client.ContainerCreateOptions {
	pids, memory := int64(1024), int64(o.memory)<<20
	config := &dockertypes.Config{Image: o.runtime.Image, Env: d.p.environment(o), Labels: map[string]string{ownerLabel: d.mark}}
	host := &dockertypes.HostConfig{
		NetworkMode: dockertypes.NetworkMode(d.network()),
		CapDrop:     []string{"NET_RAW", "NET_ADMIN"},
		LogConfig:   dockertypes.LogConfig{Type: "json-file"},
		Resources: dockertypes.Resources{
			CPUShares:  int64(max(2, 1024*o.memory/d.p.cfg.UserMemoryMB)),
			Memory:     memory,
			MemorySwap: memory, // none
			PidsLimit:  &pids,
			Ulimits:    []*dockertypes.Ulimit{{Name: "nofile", Soft: 1024, Hard: 1024}},
		},
	}
	for _, set := range d.extra {
		set(config, host)
	}
	return client.ContainerCreateOptions{Config: config, HostConfig: host, Name: o.name}
}

// extraArgs set what an operator adds to the arguments.
type extraArgs []func(*dockertypes.Config, *dockertypes.HostConfig)

// extraFlags are the flags of docker run that an operator may give here.
var extraFlags = map[string]func(values []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error){
	"volume": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		for _, bind := range v {
			if !strings.Contains(bind, ":") {
				return nil, fmt.Errorf("%q: want FOLDER:FOLDER or FOLDER:FOLDER:ro", bind)
			}
		}
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.Binds = v }, nil
	},
	"add-host": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.ExtraHosts = v }, nil
	},
	"env": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(c *dockertypes.Config, _ *dockertypes.HostConfig) { c.Env = append(c.Env, v...) }, nil
	},
	"dns": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		var servers []netip.Addr
		for _, s := range v {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, err
			}
			servers = append(servers, a)
		}
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.DNS = servers }, nil
	},
	"cap-drop": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.CapDrop = v }, nil
	},
	"cap-add": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.CapAdd = v }, nil
	},
	"security-opt": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.SecurityOpt = v }, nil
	},
	"runtime": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.Runtime = v[len(v)-1] }, nil
	},
	"pids-limit": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		n, err := strconv.ParseInt(v[len(v)-1], 10, 64)
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.PidsLimit = &n }, err
	},
	"ulimit": func(v []string) (func(*dockertypes.Config, *dockertypes.HostConfig), error) {
		var all []*dockertypes.Ulimit
		for _, text := range v {
			u, err := parseUlimit(text)
			if err != nil {
				return nil, err
			}
			all = append(all, u)
		}
		return func(_ *dockertypes.Config, h *dockertypes.HostConfig) { h.Ulimits = all }, nil
	},
}

// parseUlimit reads NAME=SOFT[:HARD].
func parseUlimit(text string) (*dockertypes.Ulimit, error) {
	name, limits, _ := strings.Cut(text, "=")
	soft, hard, both := strings.Cut(limits, ":")
	if !both {
		hard = soft
	}
	s, err := strconv.ParseInt(soft, 10, 64)
	if err == nil {
		var h int64
		if h, err = strconv.ParseInt(hard, 10, 64); err == nil {
			return &dockertypes.Ulimit{Name: name, Soft: s, Hard: h}, nil
		}
	}
	return nil, fmt.Errorf("%q: want NAME=SOFT:HARD", text)
}

func parseExtraArgs(args map[string][]string) (extraArgs, error) {
	var out extraArgs
	for _, flag := range slices.Sorted(maps.Keys(args)) {
		parse := extraFlags[flag]
		if parse == nil {
			return nil, fmt.Errorf("localwhisk: extra-args.%s: not a flag this platform knows (those are %s)",
				flag, strings.Join(slices.Sorted(maps.Keys(extraFlags)), ", "))
		}
		if len(args[flag]) == 0 {
			continue
		}
		set, err := parse(args[flag])
		if err != nil {
			return nil, fmt.Errorf("localwhisk: extra-args.%s: %w", flag, err)
		}
		out = append(out, set)
	}
	return out, nil
}
