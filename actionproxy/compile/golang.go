package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// buildGo compiles the Go files in src. A package main without a main function gets the loop around its
// entry point; one with a main function, such as those of the SDK, is built as it is.
func buildGo(ctx context.Context, r Request) (Program, error) {
	tool, err := findGo(r.Env)
	if err != nil {
		return Program{}, err
	}
	parts, err := fusedParts(r.src())
	if err != nil {
		return Program{}, err
	}
	if parts != nil {
		err = fuseGo(r.src(), parts)
	} else {
		err = prepareGo(r.src(), r.Main)
	}
	if err != nil {
		return Program{}, err
	}
	mod, err := offlineModule(r)
	if err != nil {
		return Program{}, err
	}
	if err := os.MkdirAll(r.bin(), 0o755); err != nil {
		return Program{}, fmt.Errorf("make folder for the binary: %w", err)
	}
	binary := filepath.Join(r.bin(), "exec")
	build := func(ctx context.Context, to string) error { return goBuild(ctx, tool, r, mod, to) }
	if err := cached(ctx, r.Env, r.src(), tool, binary, build); err != nil {
		return Program{}, err
	}
	return Program{Path: binary, Dir: r.src(), Acks: true}, nil
}

// findGo is the go command: of the folder OW_GO, or of the PATH.
func findGo(environ []string) (string, error) {
	if root := lookup(environ, "OW_GO"); root != "" {
		tool := filepath.Join(root, "bin", "go")
		if _, err := os.Stat(tool); err != nil {
			return "", fmt.Errorf("compile Go action: OW_GO is %s, where there is no bin/go", root)
		}
		return tool, nil
	}
	if tool, ok := find("go", lookup(environ, "PATH")); ok {
		return tool, nil
	}
	return "", errors.New("compile Go action: there is no go command; install Go 1.26 or newer, put it on PATH or name its folder in OW_GO, or deploy a compiled binary")
}

// find looks for a program in the folders of a PATH.
func find(name, path string) (string, bool) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if s, err := os.Stat(file); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 && filepath.IsAbs(file) {
			return file, true
		}
	}
	return "", false
}

// goBuild runs the compiler.
func goBuild(ctx context.Context, tool string, r Request, mod, to string) error {
	flags, environ := fitting(cmp.Or(memoryMB(r.Env), cgroupMB()))
	flags = append(flags, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", to, ".")
	cmd := exec.CommandContext(ctx, tool, append([]string{"build"}, flags...)...)
	cmd.Dir = r.src()
	cmd.Env = append([]string{"GOCACHE=" + filepath.Join(r.Dir, "gocache")}, r.Env...)
	if cache, ok := cacheDir(r.Env); ok && lookup(r.Env, "GOCACHE") == "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(cache, "go-build"))
	}
	cmd.Env = append(cmd.Env, "GOFLAGS=-mod="+mod, "GOPROXY=off", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=off",
		"CGO_ENABLED=0", "GOMAXPROCS=2", "GO111MODULE=on")
	cmd.Env = append(cmd.Env, environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("compile Go action: %w", context.Cause(ctx))
	}
	if err != nil {
		return errors.New(goWords(string(out), err))
	}
	return nil
}

// goWords are the compiler's words without the lines that name packages and downloads. Modules that are
// missing are not downloaded: what to do about it is said once.
func goWords(out string, err error) string {
	var words []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "go: downloading ") {
			words = append(words, strings.TrimPrefix(line, "./"))
		}
	}
	if len(words) == 0 {
		return "compile Go action: " + err.Error()
	}
	if strings.Contains(out, "GOPROXY=off") {
		words = append(words, "modules are not downloaded when an action starts: put them into its folder with go mod vendor")
	}
	return strings.Join(words, "\n")
}

// fitting are the flags and variables with which a build stays within mb MiB: one package at a time, as the
// compiler may take some 200 MiB for each, and with a collector that works harder. 0 is no limit.
func fitting(mb int) (flags, environ []string) {
	if mb == 0 || mb >= 1024 {
		return []string{"-p", "2"}, nil
	}
	return []string{"-p", "1"}, []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", mb*2/3)}
}

// cgroupMB is what the container's own limit is, in MiB; 0 without one.
func cgroupMB() int {
	limit, _ := os.ReadFile("/sys/fs/cgroup/memory.max")
	bytes, _ := strconv.Atoi(strings.TrimSpace(string(limit))) // "max" is none
	return bytes >> 20
}
