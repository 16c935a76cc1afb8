package openwhisk

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WskProps are the settings that the wsk command keeps in ~/.wskprops: keys
// in capitals, such as APIHOST, AUTH, NAMESPACE, APIVERSION.
type WskProps map[string]string

// ReadWskProps reads a properties file. Lines are KEY=VALUE; empty lines and
// lines that begin with # are skipped.
func ReadWskProps(path string) (WskProps, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("openwhisk: read wsk properties: %w", err)
	}
	defer f.Close()
	p := WskProps{}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("openwhisk: %s:%d: not a line of the form KEY=VALUE", path, n)
		}
		p[strings.ToUpper(strings.TrimSpace(k))] = strings.TrimSpace(v)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("openwhisk: read %s: %w", path, err)
	}
	return p, nil
}

// WriteWskProps sets the given properties in a file that only its owner can
// read, replacing it at once. Properties and comments that the file had and
// props does not name are kept.
func WriteWskProps(path string, props WskProps) error {
	var out strings.Builder
	left := make(WskProps, len(props))
	for k, v := range props {
		left[strings.ToUpper(k)] = v
	}
	if old, err := os.ReadFile(path); err == nil {
		for line := range strings.Lines(string(old)) {
			k, _, ok := strings.Cut(line, "=")
			k = strings.ToUpper(strings.TrimSpace(k))
			if v, set := left[k]; ok && set {
				line = k + "=" + v
				delete(left, k)
			}
			out.WriteString(strings.TrimRight(line, "\r\n") + "\n")
		}
	} else if !os.IsNotExist(err) {
		return fmt.Errorf("openwhisk: read wsk properties: %w", err)
	}
	for _, k := range slices.Sorted(maps.Keys(left)) {
		out.WriteString(k + "=" + left[k] + "\n")
	}
	return replaceFile(path, []byte(out.String()))
}

func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".wskprops-*")
	if err != nil {
		return fmt.Errorf("openwhisk: write wsk properties: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("openwhisk: write wsk properties: %w", err)
	}
	return nil
}

// Config makes a client's configuration of the properties. INSECURE_SSL is
// ours: wsk takes it from its -i flag.
func (p WskProps) Config() Config {
	return Config{APIHost: p["APIHOST"], Auth: p["AUTH"], Namespace: p["NAMESPACE"],
		Insecure: strings.EqualFold(p["INSECURE_SSL"], "true")}
}
