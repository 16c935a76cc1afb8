package localwhisk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/localwhisk"
)

func TestSettings(t *testing.T) {
	var c localwhisk.Config
	for _, kv := range []string{
		"whisk.container-proxy.timeouts.pause-grace=10s", "whisk.container-proxy.timeouts.idle-container=10 minutes",
		"whisk.controller.activation.max-wait-for-blocking-activation=60 seconds", "whisk.time-limit.max=5 m", "whisk.time-limit.min=100",
		"whisk.memory-limit.max=2 GB", "whisk.log-limit.std=5 m", "whisk.activation.payload.max=2 m", "whisk.exec-size-limit=1024 KB",
		"whisk.parameter-size-limit=7 b", "whisk.container-pool.user-memory=4096m", "whisk.concurrency-limit.max=3",
		"limits.actions.invokes.perMinute=7", "whisk.config.limits-triggers-fires-perMinute=8", "whisk.users.me=id:key",
	} {
		key, value, _ := strings.Cut(kv, "=")
		s, err := localwhisk.ParseSetting(key, value)
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(&c)
	}
	l := localwhisk.DefaultLimits()
	l.MinTimeout, l.MaxTimeout, l.MaxMemory, l.StdLogs, l.PayloadBytes, l.CodeBytes, l.ParameterBytes = 100, 300000, 2048, 5, 2<<20, 1<<20, 7
	l.MaxConcurrency, l.InvocationsPerMinute, l.FiresPerMinute = 3, 7, 8
	if c.Limits != l || c.PauseGrace != 10*time.Second || c.IdleTimeout != 10*time.Minute || c.BlockingWait != time.Minute ||
		c.UserMemoryMB != 4096 || c.Namespace != "me" || c.Auth != "id:key" {
		t.Errorf("got %+v", c)
	}
	for _, kv := range []string{"whisk.nonsense=1", "whisk.time-limit.max=soon", "whisk.time-limit.max=-1 s", "whisk.time-limit.max=0",
		"whisk.time-limit.max=9999999999 d", "whisk.memory-limit.max=2", "whisk.memory-limit.max=99999999999 GB", "limits.actions.invokes.perMinute=0",
		"limits.actions.invokes.perMinute=x", "whisk.users.me=nokey", "whisk.users.-=a:b", "="} {
		key, value, _ := strings.Cut(kv, "=")
		if _, err := localwhisk.ParseSetting(key, value); err == nil {
			t.Errorf("%s passes", kv)
		}
	}
}

func TestSettingsFrom(t *testing.T) {
	got, err := localwhisk.SettingsFrom([]string{"PATH=/bin", "CONFIG_whisk_timeLimit_max=2 m", "CONFIG_whisk_containerProxy_timeouts_pauseGrace=7 s",
		"CONFIG_whisk_couchdb_host=nobody", "LIMITS_ACTIONS_SEQUENCE_MAXLENGTH=9", "CONFIG_whisk_users_someOne=a:b", "CONFIG_logback_log_level=INFO"})
	if err != nil {
		t.Fatal(err)
	}
	var c localwhisk.Config
	for _, s := range got {
		s.Apply(&c)
	}
	if len(got) != 4 || c.Limits.MaxTimeout != 120000 || c.PauseGrace != 7*time.Second || c.Limits.SequenceLength != 9 || c.Namespace != "someOne" {
		t.Errorf("%+v: %+v", got, c)
	}
	if _, err := localwhisk.SettingsFrom([]string{"CONFIG_whisk_timeLimit_max=no"}); err == nil {
		t.Error("a bad value passes")
	}
}

func FuzzParseSetting(f *testing.F) {
	for _, key := range localwhisk.SettingKeys() {
		for _, value := range []string{"1", "10 s", "256 MB", "a:b", "-1", ""} {
			f.Add(key, value)
		}
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		s, err := localwhisk.ParseSetting(key, value)
		if err != nil {
			return
		}
		c := localwhisk.Config{}
		s.Apply(&c)
		if c.PauseGrace < 0 || c.UserMemoryMB < 0 || c.Limits.MaxTimeout < 0 || c.Limits.PayloadBytes < 0 || c.Limits.InvocationsPerMinute < 1 {
			t.Errorf("%s=%s makes %+v", key, value, c)
		}
	})
}
