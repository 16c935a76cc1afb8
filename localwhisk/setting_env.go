package localwhisk

import (
	"regexp"
	"slices"
	"strings"
)

var (
	hump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

	// The names that a container of the real platform gets these under.
	limitVariables = map[string]string{
		"LIMITS_ACTIONS_INVOKES_PERMINUTE":  "limits.actions.invokes.perMinute",
		"LIMITS_ACTIONS_INVOKES_CONCURRENT": "limits.actions.invokes.concurrent",
		"LIMITS_TRIGGERS_FIRES_PERMINUTE":   "limits.triggers.fires.perMinute",
		"LIMITS_ACTIONS_SEQUENCE_MAXLENGTH": "limits.actions.sequence.maxLength",
	}
)

// SettingsFrom reads settings from an environment ("K=V") as the real
// platform's containers do: CONFIG_whisk_timeLimit_max is whisk.time-limit.max,
// and LIMITS_ACTIONS_INVOKES_PERMINUTE is a name of its own. What is set for
// parts that this platform has not is left out.
func SettingsFrom(environ []string) ([]Setting, error) {
	known := SettingKeys()
	var out []Setting
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		key, ok := limitVariables[name]
		if rest, is := strings.CutPrefix(name, "CONFIG_"); is {
			parts := strings.Split(rest, "_")
			for i, p := range parts {
				if i == 2 && parts[0]+"."+parts[1]+"." == usersPrefix {
					continue // a namespace's name
				}
				parts[i] = hump.ReplaceAllStringFunc(p, func(s string) string { return s[:1] + "-" + strings.ToLower(s[1:]) })
			}
			key = strings.Join(parts, ".")
			ok = slices.Contains(known, key) || strings.HasPrefix(key, usersPrefix)
		}
		if !ok || value == "" {
			continue
		}
		s, err := ParseSetting(key, value)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
