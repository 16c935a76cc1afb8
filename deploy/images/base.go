package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/moby/moby/client"
)

// base is the Debian tree that all images are built on where nothing is to be pulled: one tree with all
// languages, since it is made in one go and is less than four together.
type base struct {
	name   string // of its image
	goroot string // of this machine's Go, which goes in where Debian's is too old; "" for none
}

const (
	suite    = "bookworm"
	packages = "python3,nodejs,openjdk-17-jdk-headless,libgoogle-gson-java,ca-certificates"
)

// What makes the tree small, and the tree of Go: no tests, no documentation.
var (
	treeOptions = []string{"--variant=essential", "--quiet", "--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		`--essential-hook=mkdir -p "$1/usr/share/man/man1"`} // Java's installation wants it
	goOptions = `--customize-hook=mkdir -p "$1/usr/local/go" && cd '%s' && tar -chf - --exclude='*_test.go' --exclude=testdata ` +
		`--exclude=src/cmd bin/go pkg/include pkg/tool src go.env VERSION | tar -C "$1/usr/local/go" -xf -`
)

func newBase() base {
	var b base
	version := ""
	if out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output(); err == nil {
		b.goroot, version, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	b.name = "weft/debian:" + digest([]byte(suite), []byte(packages), []byte(version), []byte(goOptions), []byte(strings.Join(treeOptions, " ")))
	return b
}

// ensureBase makes the tree and imports it, unless it is there.
func (b *Builder) ensureBase(ctx context.Context, base base) error {
	if _, err := b.Docker.ImageInspect(ctx, base.name); err == nil {
		return nil
	}
	args := append(treeOptions[:len(treeOptions):len(treeOptions)], "--include="+packages)
	if base.goroot != "" && !strings.Contains(base.goroot, "'") {
		args = append(args, fmt.Sprintf(goOptions, base.goroot))
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, "-")...)
	if cmd.Err != nil {
		return errors.New("images are built on a Debian tree that mmdebstrap makes, which is not in PATH: install it (Debian: apt-get install mmdebstrap)")
	}
	fmt.Fprintf(b.Note, "weft: making image %s of Debian packages; this takes a minute or two, once\n", base.name)
	var said bytes.Buffer
	cmd.Stderr = &said
	tree, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run mmdebstrap: %w", err)
	}
	repository, tag, _ := strings.Cut(base.name, ":")
	partial := repository + ":partial-" + tag // a tree that was cut short has not the name
	imported, err := b.Docker.ImageImport(ctx, client.ImageImportSource{Source: tree, SourceName: "-"}, partial,
		client.ImageImportOptions{Changes: []string{"ENV LANG=C.UTF-8"}})
	if err == nil {
		err = outcome(imported)
		_ = imported.Close()
	}
	if done := cmd.Wait(); done != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", done, lastLines(said.String()))
	}
	if err != nil {
		return fmt.Errorf("import the Debian tree: %w", err)
	}
	if _, err := b.Docker.ImageTag(ctx, client.ImageTagOptions{Source: partial, Target: base.name}); err != nil {
		return fmt.Errorf("name the Debian tree: %w", err)
	}
	_, _ = b.Docker.ImageRemove(ctx, partial, client.ImageRemoveOptions{}) // only the name
	return nil
}

// lastLines are the end of what a program has said.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
