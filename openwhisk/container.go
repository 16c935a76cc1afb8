package openwhisk

import (
	"strings"
	"unicode"
)

// ContainerName is how an invoker names a container: wskUNIQUENAMEID_COUNTER_NAMESPACE_ACTION, or
// …_prewarm_KIND for one that was started before it was known whose it would be, which it keeps. Letters,
// digits and underscores are all that is left of each part (common/…/ContainerFactory.scala).
type ContainerName struct {
	Invoker string // wsk, its unique name and number
	Counter string
	Rest    string // NAMESPACE_ACTION or prewarm_KIND
}

const prewarmed = "prewarm_"

// ParseContainerName takes a container's name apart; false when no invoker names one so.
func ParseContainerName(name string) (ContainerName, bool) {
	invoker, rest, _ := strings.Cut(name, "_")
	// A unique name may have underscores of its own: the counter is the first part of digits only.
	for rest != "" {
		part, after, _ := strings.Cut(rest, "_")
		if digits(part) {
			n := ContainerName{Invoker: invoker, Counter: part, Rest: after}
			return n, strings.HasPrefix(name, "wsk") && after != ""
		}
		invoker, rest = invoker+"_"+part, after
	}
	return ContainerName{}, false
}

// Prewarmed says that the name tells nothing of namespace and action.
func (n ContainerName) Prewarmed() bool { return strings.HasPrefix(n.Rest, prewarmed) }

// MayRun says whether the name is that of a container that runs the action: of one invoked in the
// namespace, or, for a prewarmed one, of any. The action's package isn't in a name.
func (n ContainerName) MayRun(namespace, action string) bool {
	action = action[strings.LastIndexByte(action, '/')+1:]
	return n.Prewarmed() || n.Rest == allowed(namespace)+"_"+allowed(action)
}

// allowed drops what Docker might not like in a name.
func allowed(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
