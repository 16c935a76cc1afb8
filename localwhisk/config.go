package localwhisk

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// ErrConfig is a configuration that no platform can have.
var ErrConfig = errors.New("localwhisk: configuration")

// Config says what kind of platform to run. The zero value of each field is
// OpenWhisk's default unless its comment says otherwise.
type Config struct {
	Listen    string // REST address; "127.0.0.1:3233"
	Namespace string // the only namespace; "guest"
	Auth      string // "uuid:key"; random if empty
	Limits    Limits // DefaultLimits() if zero

	UserMemoryMB int           // for all containers together; 8192
	PauseGrace   time.Duration // idle time before a container is paused; 10 s
	IdleTimeout  time.Duration // paused time before it is removed; 10 min
	BlockingWait time.Duration // what a blocking call waits before it gets 202; 60 s

	Runtimes   map[string]Runtime // by kind
	Docker     *Docker            // nil: containers are processes of this machine
	Blackboxes []string           // images of actions that are never pulled and end an activation's output with sentinels
	ExtraEnv   []string           // "K=V" for every container: the operator's extra-env-vars

	StateDir        string // containers' directories are made in it; the system's temporary directory if empty
	ActivationsKept int    // records kept, the newest; 20000
	Placement       Placement
	Logger          zerolog.Logger
	Now             func() time.Time // time.Now; decides only throttle windows and time stamps
}

// Runtime is how a container of one kind is started.
type Runtime struct {
	Kind    string   // set from its key in Config.Runtimes
	Command []string // of a process: "{address}" stands for the container's IP; it must serve HTTP on port 8080 of it
	Env     []string // "K=V"; the whole environment of a process but for what the platform adds; "{memory}" stands for the container's, in MiB
	Image   string   // "localwhisk/go" of a go:1.26 if empty; of processes it is only named
	Prewarm int      // containers of the standard memory started ahead, without an action

	Blackbox    bool // the image is the action's own
	NoSentinels bool // an activation's output ends where it ends
}

// Placement sets what a real platform leaves to chance.
type Placement struct {
	// CompletionDelay is waited before a run's completion is sent; until
	// then its container counts as busy and the next run starts another.
	CompletionDelay time.Duration
	// PassOverLast makes the pool pass over the container that ran the
	// action last; it starts a new one if no other is idle and memory allows.
	PassOverLast bool
	// Hold holds back the start of a new container for an action
	// ("guest/pkg/name"). Nil or a zero answer: not at all.
	Hold func(action string) time.Duration
}

func (c *Config) setDefaults() {
	orText(&c.Listen, "127.0.0.1:3233")
	orText(&c.Namespace, "guest")
	if c.Auth == "" {
		id := randomHex(16)
		c.Auth = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-") + ":" + randomText(64)
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.UserMemoryMB == 0 {
		c.UserMemoryMB = 8192
	}
	if c.ActivationsKept == 0 {
		c.ActivationsKept = 20000
	}
	orDuration(&c.PauseGrace, 10*time.Second)
	orDuration(&c.IdleTimeout, 10*time.Minute)
	orDuration(&c.BlockingWait, time.Minute)
	runtimes := make(map[string]Runtime, len(c.Runtimes))
	for kind, r := range c.Runtimes {
		r.Kind = kind
		family, _, _ := strings.Cut(kind, ":")
		orText(&r.Image, "localwhisk/"+family)
		runtimes[kind] = r
	}
	c.Runtimes = runtimes
	if c.Now == nil {
		c.Now = time.Now
	}
}

func orText(s *string, or string) {
	if *s == "" {
		*s = or
	}
}

func orDuration(d *time.Duration, or time.Duration) {
	if *d == 0 {
		*d = or
	}
}

func (c *Config) validate() error {
	if _, _, ok := splitAuth(c.Auth); !ok {
		return errors.New("auth has not the form uuid:key")
	}
	if c.UserMemoryMB < c.Limits.MinMemory {
		return fmt.Errorf("user memory of %d MB holds no container: the smallest is %d MB", c.UserMemoryMB, c.Limits.MinMemory)
	}
	if err := c.Limits.validate(); err != nil {
		return err
	}
	for kind, r := range c.Runtimes {
		if len(r.Command) == 0 && c.Docker == nil {
			return fmt.Errorf("runtime %q has no command", kind)
		}
	}
	return nil
}

func splitAuth(auth string) (uuid, key string, ok bool) {
	uuid, key, ok = strings.Cut(auth, ":")
	return uuid, key, ok && uuid != "" && key != ""
}
