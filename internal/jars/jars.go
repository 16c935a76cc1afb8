// Package jars brings artifacts of Maven Central, with all that they need at run time, onto this machine
// once: tests and comparison runs start Apache Kafka and Apache Flink from them.
package jars

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrMissing says that there are no programs for it here, and what to install.
var ErrMissing = errors.New("needs a Java runtime of version 17 or later, and mvn to download jars once: apt-get install openjdk-17-jdk-headless maven")

// Artifact is GROUP:NAME:VERSION.
type Artifact string

// fetchTime bounds a download.
const fetchTime = 10 * time.Minute

// Folder returns the folder with the artifacts and what they need. If they aren't on this machine yet, mvn
// downloads them into the user's cache folder, under the name; processes that come at once may each do
// so, and one of them wins. A name stands for one list of artifacts for ever.
func Folder(ctx context.Context, name string, artifacts ...Artifact) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%s: %w", name, ErrMissing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "weft", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", fmt.Errorf("%s: %w", name, ErrMissing)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	if err := download(ctx, part, name, artifacts); err != nil {
		return "", err
	}
	// A folder of this name is whole.
	if err := os.Rename(filepath.Join(part, "jars"), dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", fmt.Errorf("keep the jars of %s: %w", name, err)
		}
	}
	return dir, nil
}

func download(ctx context.Context, dir, name string, artifacts []Artifact) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	pom, err := project(artifacts)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "jars"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s with mvn: %w\n%s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func project(artifacts []Artifact) (string, error) {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weft</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
`)
	for _, a := range artifacts {
		part := strings.Split(string(a), ":")
		if len(part) != 3 {
			return "", fmt.Errorf("artifact %q is not GROUP:NAME:VERSION", a)
		}
		fmt.Fprintf(&b, "    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", part[0], part[1], part[2])
	}
	b.WriteString("  </dependencies>\n</project>\n")
	return b.String(), nil
}
