package localwhisk

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// Setting is one value of a Config under OpenWhisk's name for it.
type Setting struct {
	Key   string // "whisk.container-proxy.timeouts.pause-grace"
	Value string // as given: "10 s", "256 MB", "60", "uuid:key"
	apply func(*Config)
}

// Apply sets the value in c.
func (s Setting) Apply(c *Config) {
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	s.apply(c)
}

// usersPrefix comes before a namespace whose key is set.
const usersPrefix = "whisk.users."

// The three kinds of values, by key: durations, sizes in bytes or, where the
// platform counts so, in MB, and numbers.
var (
	durationSettings = map[string]func(*Config) *time.Duration{
		"whisk.container-proxy.timeouts.pause-grace":                   func(c *Config) *time.Duration { return &c.PauseGrace },
		"whisk.container-proxy.timeouts.idle-container":                func(c *Config) *time.Duration { return &c.IdleTimeout },
		"whisk.controller.activation.max-wait-for-blocking-activation": func(c *Config) *time.Duration { return &c.BlockingWait },
	}
	milliSettings = map[string]func(*Config) *int{
		"whisk.time-limit.min": func(c *Config) *int { return &c.Limits.MinTimeout },
		"whisk.time-limit.max": func(c *Config) *int { return &c.Limits.MaxTimeout },
		"whisk.time-limit.std": func(c *Config) *int { return &c.Limits.StdTimeout },
	}
	megabyteSettings = map[string]func(*Config) *int{
		"whisk.container-pool.user-memory": func(c *Config) *int { return &c.UserMemoryMB },
		"whisk.memory-limit.min":           func(c *Config) *int { return &c.Limits.MinMemory },
		"whisk.memory-limit.max":           func(c *Config) *int { return &c.Limits.MaxMemory },
		"whisk.memory-limit.std":           func(c *Config) *int { return &c.Limits.StdMemory },
		"whisk.log-limit.min":              func(c *Config) *int { return &c.Limits.MinLogs },
		"whisk.log-limit.max":              func(c *Config) *int { return &c.Limits.MaxLogs },
		"whisk.log-limit.std":              func(c *Config) *int { return &c.Limits.StdLogs },
	}
	byteSettings = map[string]func(*Config) *int{
		"whisk.activation.payload.max": func(c *Config) *int { return &c.Limits.PayloadBytes },
		"whisk.parameter-size-limit":   func(c *Config) *int { return &c.Limits.ParameterBytes },
		"whisk.exec-size-limit":        func(c *Config) *int { return &c.Limits.CodeBytes },
	}
	numberSettings = map[string]func(*Config) *int{
		"whisk.concurrency-limit.max":       func(c *Config) *int { return &c.Limits.MaxConcurrency },
		"limits.actions.invokes.perMinute":  func(c *Config) *int { return &c.Limits.InvocationsPerMinute },
		"limits.actions.invokes.concurrent": func(c *Config) *int { return &c.Limits.ConcurrentInvocations },
		"limits.triggers.fires.perMinute":   func(c *Config) *int { return &c.Limits.FiresPerMinute },
		"limits.actions.sequence.maxLength": func(c *Config) *int { return &c.Limits.SequenceLength },
	}
)

// SettingKeys lists the keys that ParseSetting knows, in order. "*" stands for
// a namespace's name.
func SettingKeys() []string {
	keys := []string{usersPrefix + "*"}
	for _, table := range []map[string]func(*Config) *int{milliSettings, megabyteSettings, byteSettings, numberSettings} {
		for k := range table {
			keys = append(keys, k)
		}
	}
	for k := range durationSettings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ParseSetting reads a value under OpenWhisk's name for it, as its
// application.conf or its whisk.properties has it. The standalone's
// whisk.config.limits-actions-invokes-perMinute is the same as
// limits.actions.invokes.perMinute.
func ParseSetting(key, value string) (Setting, error) {
	name, value := key, strings.Trim(strings.TrimSpace(value), `"'`)
	if rest, ok := strings.CutPrefix(key, "whisk.config."); ok {
		name = strings.ReplaceAll(rest, "-", ".")
	}
	s := Setting{Key: name, Value: value}
	var err error
	if field := durationSettings[name]; field != nil {
		var d time.Duration
		d, err = parseDuration(value)
		s.apply = func(c *Config) { *field(c) = d }
	} else if ns, ok := strings.CutPrefix(name, usersPrefix); ok {
		if _, _, valid := splitAuth(value); !valid || !openwhisk.ValidSegment(ns) {
			err = fmt.Errorf("it sets a namespace's key: %sNAMESPACE=uuid:key", usersPrefix)
		}
		s.apply = func(c *Config) { c.Namespace, c.Auth = ns, value }
	} else {
		err = s.parseNumber(name)
	}
	if err != nil {
		return Setting{}, fmt.Errorf("localwhisk: setting %s=%s: %w", key, value, err)
	}
	return s, nil
}

// parseNumber reads what is kept as a number.
func (s *Setting) parseNumber(name string) error {
	var n int
	var err error
	var d time.Duration
	field := milliSettings[name]
	switch {
	case field != nil:
		d, err = parseDuration(s.Value)
		n = int(d.Milliseconds())
	case megabyteSettings[name] != nil:
		field = megabyteSettings[name]
		n, err = parseSize(s.Value)
		n >>= 20
	case byteSettings[name] != nil:
		field = byteSettings[name]
		n, err = parseSize(s.Value)
	case numberSettings[name] != nil:
		field = numberSettings[name]
		if n, err = strconv.Atoi(s.Value); err != nil || n < 1 {
			err = fmt.Errorf("not a number above 0")
		}
	default:
		return fmt.Errorf("not a setting of this platform (those are %s)", strings.Join(SettingKeys(), ", "))
	}
	s.apply = func(c *Config) { *field(c) = n }
	return err
}

var (
	durationForm = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([a-z]*)$`)
	sizeForm     = regexp.MustCompile(`(?i)^(\d{1,12})\s?(b|kb?|mb?|gb?)$`)
)

var durationUnits = map[string]time.Duration{
	"": time.Millisecond, "ms": time.Millisecond, "millis": time.Millisecond, "milliseconds": time.Millisecond, "millisecond": time.Millisecond,
	"s": time.Second, "seconds": time.Second, "second": time.Second, "m": time.Minute, "minutes": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hours": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "days": 24 * time.Hour, "day": 24 * time.Hour,
}

// parseDuration reads "10 s", "10s", "1 minute" and plain milliseconds.
func parseDuration(text string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(text)
	if m == nil || durationUnits[m[2]] == 0 {
		return 0, fmt.Errorf("not a duration such as 10 s, 100 ms or 5 minutes")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if d := n * float64(durationUnits[m[2]]); err == nil && d >= float64(time.Millisecond) && d < float64(365*24*time.Hour) {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("not a duration between 1 ms and a year")
}

// parseSize reads "256 MB", "1 m" and the like, in bytes.
func parseSize(text string) (int, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("not a size such as 256 MB or 1 m")
	}
	n, err := strconv.Atoi(m[1])
	shift := map[byte]int{'b': 0, 'k': 10, 'm': 20, 'g': 30}[m[2][0]|0x20]
	if err != nil || n > 1<<(50-shift) {
		return 0, fmt.Errorf("too large a size")
	}
	return n << shift, nil
}
