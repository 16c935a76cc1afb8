package images

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
)

// Builder builds the images that Docker has not.
type Builder struct {
	Docker  *client.Client
	Proxy   string // path of actionproxy; libweft.so beside it goes along where functions use it
	Version string // for the label
	Note    io.Writer
}

// Ensure returns the images of kinds, NAME:TAG by kind. The tag stands for what the image is made of, so
// that one that is there is always the right one.
func (b *Builder) Ensure(ctx context.Context, kinds ...string) (map[string]string, error) {
	proxy, err := os.ReadFile(b.Proxy)
	if err != nil {
		return nil, fmt.Errorf("build images: %w", err)
	}
	core, err := os.ReadFile(filepath.Join(filepath.Dir(b.Proxy), coreName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("build images: %w", err)
	}
	out := map[string]string{}
	for _, i := range All() {
		for _, k := range kinds {
			if k != i.Kind {
				continue
			}
			if out[k], err = b.ensure(ctx, i, proxy, core); err != nil {
				return nil, fmt.Errorf("build image %s: %w", i.Name, err)
			}
		}
	}
	return out, nil
}

// coreName is the file of the native core.
const coreName = "libweft.so"

func (b *Builder) ensure(ctx context.Context, i Image, proxy, core []byte) (string, error) {
	file, err := dockerfiles.ReadFile(i.Dir + "/Dockerfile")
	if err != nil {
		return "", err
	}
	if !bytes.Contains(file, []byte(coreName)) {
		core = nil
	}
	base := newBase()
	name := i.Name + ":" + digest(file, proxy, core, []byte(base.name))
	if _, err := b.Docker.ImageInspect(ctx, name); err == nil {
		return name, nil
	}
	if err := b.ensureBase(ctx, base); err != nil {
		return "", err
	}
	fmt.Fprintf(b.Note, "weft: building image %s\n", name)
	built, err := b.Docker.ImageBuild(ctx, buildContext(file, proxy, core), client.ImageBuildOptions{
		Tags: []string{name}, Remove: true, ForceRemove: true, BuildArgs: map[string]*string{"BASE": &base.name, "VERSION": &b.Version}})
	if err != nil {
		return "", err
	}
	defer built.Body.Close()
	return name, outcome(built.Body)
}

// digest names contents, in 12 digits.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintln(h, len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// buildContext is the folder that an image is built from. There may be no core.
func buildContext(dockerfile, proxy, core []byte) io.Reader {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"Dockerfile", 0o644, dockerfile}, {"actionproxy", 0o755, proxy}, {coreName, 0o755, core}} {
		if f.data == nil {
			continue
		}
		// Into memory, where nothing fails.
		_ = w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))})
		_, _ = w.Write(f.data)
	}
	_ = w.Close()
	return &out
}

// outcome reads what Docker says while it works; its error is the last words.
func outcome(r io.Reader) error {
	var said strings.Builder
	for m, err := range messages(r) {
		switch {
		case err != nil:
			return err
		case m.Error != "":
			return fmt.Errorf("%s\n%s", m.Error, strings.TrimSpace(said.String()))
		}
		said.WriteString(m.Stream)
	}
	return nil
}
