package actionproxy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-stream/weft/actionproxy/compile"
)

// ProxyVersion is the stock proxy's version that this one stands in for.
const ProxyVersion = "1.17.1"

// Environment is the part of the proxy's contract that comes as environment variables.
type Environment struct {
	Compiler     string            // OW_COMPILER: "weft:go", "weft:python", "weft:node", "weft:java", a program's path, or "" for none
	WaitForAck   string            // OW_WAIT_FOR_ACK: when set, a function says when it is ready
	ExecutionEnv string            // OW_EXECUTION_ENV: what bin/exec.env of a binary has to say
	LogInitError bool              // OW_LOG_INIT_ERROR: errors of /init go to the log instead of the answer
	SaveJar      string            // OW_SAVE_JAR: a zip with META-INF is kept whole, as the file of this name; weft:java always does
	Function     map[string]string // the __OW_* variables, which functions get
	Compile      []string          // "K=V": the whole environment; only compilers get it
}

// ReadEnvironment picks what the proxy needs of environ ("K=V", as os.Environ has it).
func ReadEnvironment(environ []string) Environment {
	e := Environment{Function: map[string]string{}, Compile: environ}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "OW_COMPILER":
			e.Compiler = value
		case name == "OW_WAIT_FOR_ACK":
			e.WaitForAck = value
		case name == "OW_EXECUTION_ENV":
			e.ExecutionEnv = value
		case name == "OW_LOG_INIT_ERROR":
			e.LogInitError = value != ""
		case name == "OW_SAVE_JAR":
			e.SaveJar = value
		case strings.HasPrefix(name, "__OW_"):
			e.Function[name] = value
		}
	}
	if e.Compiler == compile.Java {
		e.SaveJar = cmp.Or(e.SaveJar, "exec.jar")
	}
	return e
}

// forFunction is a function's whole environment: the proxy's __OW_* variables, and over them what /init
// says. Values that are no strings are JSON, null is empty.
func (e Environment) forFunction(init map[string]json.RawMessage) ([]string, error) {
	all := map[string]string{"__OW_PROXY_VERSION": ProxyVersion}
	if e.ExecutionEnv != "" {
		all["__OW_EXECUTION_ENV"] = e.ExecutionEnv
	}
	if e.WaitForAck != "" {
		all["__OW_WAIT_FOR_ACK"] = e.WaitForAck
	}
	maps.Copy(all, e.Function)
	for name, raw := range init {
		value := string(raw)
		switch {
		case value == "null":
			value = ""
		case strings.HasPrefix(value, `"`):
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, fmt.Errorf("decode variable %s: %w", name, err)
			}
		default:
			var text bytes.Buffer
			if err := json.Compact(&text, raw); err != nil {
				return nil, fmt.Errorf("decode variable %s: %w", name, err)
			}
			value = text.String()
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("variable %q can't be in an environment", name)
		}
		all[name] = value
	}
	environ := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		environ = append(environ, name+"="+all[name])
	}
	return environ, nil
}
