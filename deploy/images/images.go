// Package images holds the runtime images for OpenWhisk and builds them where they are missing: on a
// Debian tree made from packages, so that nothing is pulled.
//
// By hand, on a public base: docker build -f deploy/images/python/Dockerfile -t weft/action-python-v3 bin
package images

import (
	"embed"
	"encoding/json"
	"os"
	"strings"
)

//go:embed */Dockerfile
var dockerfiles embed.FS

// Image is one runtime image.
type Image struct {
	Kind string // OpenWhisk's, whose actions it runs: "python:3"
	Dir  string // of its Dockerfile
	Name string // without a tag
}

// All lists the images.
func All() []Image {
	return []Image{
		{"go:1.26", "go", "weft/action-go-v1.26"},
		{"python:3", "python", "weft/action-python-v3"},
		{"nodejs:20", "nodejs", "weft/action-nodejs-v20"},
		{"java:17", "java", "weft/action-java-v17"},
	}
}

// Published names the images of a release, by kind, in the registry and folder that WEFT_IMAGES says.
func Published(version string) map[string]string {
	out := map[string]string{}
	for _, i := range All() {
		name := i.Name
		if where := os.Getenv("WEFT_IMAGES"); where != "" {
			name = strings.TrimSuffix(where, "/") + strings.TrimPrefix(name, "weft")
		}
		out[i.Kind] = name + ":" + version
	}
	return out
}

// WeftKind is the kind that a cluster has for a kind's actions on Weft's image: "python:3-weft".
func WeftKind(kind string) string { return kind + "-weft" }

// Manifest is what a cluster's runtimes manifest says of the images, by kind as Ensure returns them. A
// cluster's own manifest keeps its kinds and gets these; OpenWhisk wants one default in a family.
func Manifest(built map[string]string) ([]byte, error) {
	type image struct {
		Prefix string `json:"prefix"`
		Name   string `json:"name"`
		Tag    string `json:"tag"`
	}
	type runtime struct {
		Kind     string            `json:"kind"`
		Image    image             `json:"image"`
		Attached map[string]string `json:"attached"`
	}
	families := map[string][]runtime{}
	for _, i := range All() {
		name, tag, _ := strings.Cut(built[i.Kind], ":")
		if name == "" {
			continue
		}
		slash := strings.LastIndexByte(name, '/')
		family, _, _ := strings.Cut(i.Kind, ":")
		families[family] = append(families[family], runtime{Kind: WeftKind(i.Kind),
			Image:    image{name[:max(slash, 0)], name[slash+1:], tag},
			Attached: map[string]string{"attachmentName": "codefile", "attachmentType": "text/plain"}})
	}
	return json.MarshalIndent(map[string]any{"runtimes": families, "blackboxes": []any{}}, "", "  ")
}
