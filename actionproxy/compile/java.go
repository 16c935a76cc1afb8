package compile

import (
	"archive/zip"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed launcher.java.txt
var javaLauncher []byte

const (
	javaLauncherClass = "WeftLauncher"
	gsonClass         = "com/google/gson/JsonObject.class"
)

// buildJava compiles what the user has as source, and the launcher, once, against the Gson that the
// action will run with.
func buildJava(ctx context.Context, r Request) (Program, error) {
	java, err := findJava("java", r.Env)
	if err != nil {
		return Program{}, err
	}
	javac, err := findJava("javac", r.Env)
	if err != nil {
		return Program{}, err
	}
	class, method := javaMain(r.Main)
	if strings.ContainsAny(class, "/\x00") {
		return Program{}, fmt.Errorf("main is %q; it is named as package.Class#method", r.Main)
	}
	if err := r.place(class[strings.LastIndexByte(class, '.')+1:] + ".java"); err != nil {
		return Program{}, err
	}
	jars, err := filesBelow(r.bin(), ".jar")
	if err != nil {
		return Program{}, err
	}
	gson, err := findGson(r.Env, jars)
	if err != nil {
		return Program{}, err
	}
	path := append([]string{r.bin()}, append(jars, gson...)...)
	if err := compileJava(ctx, r, javac, path); err != nil {
		return Program{}, err
	}
	lib, err := compileLauncher(ctx, r, javac, path[1:])
	if err != nil {
		return Program{}, err
	}
	args := []string{"-XX:+UseSerialGC", "-XX:MaxRAMPercentage=50", "-Dfile.encoding=UTF-8",
		"--add-opens=java.base/java.util=ALL-UNNAMED", "-cp", strings.Join(append(path, lib), ":"), javaLauncherClass, class, method}
	if mb := memoryMB(r.Env); mb > 0 {
		args = append([]string{"-XX:MaxRAM=" + strconv.Itoa(mb) + "m"}, args...)
	}
	return Program{Path: java, Args: args, Dir: r.bin(), Acks: true}, nil
}

// javaMain splits "package.Class#method"; the class is Main and the method main if nothing is said.
func javaMain(main string) (class, method string) {
	if main == "main" {
		main = ""
	}
	class, method, _ = strings.Cut(main, "#")
	return cmp.Or(class, "Main"), cmp.Or(method, "main")
}

// findJava is a program of the JDK: of the folder JAVA_HOME, or of the PATH.
func findJava(name string, environ []string) (string, error) {
	if home := lookup(environ, "JAVA_HOME"); home != "" {
		if file := filepath.Join(home, "bin", name); isFile(file) {
			return file, nil
		}
	}
	if file, ok := find(name, lookup(environ, "PATH")); ok {
		return file, nil
	}
	return "", fmt.Errorf("start Java action: there is no %s; install a JDK of version 17 or newer (Debian: openjdk-17-jdk-headless), "+
		"put it on PATH or name its folder in JAVA_HOME", name)
}

// findGson is the class path's part with com.google.gson, which every Java action's main speaks: what
// OW_JAVA_CLASSPATH says, nothing if the action brings it, Debian's, or one that Maven has fetched.
func findGson(environ, jars []string) ([]string, error) {
	if path := lookup(environ, "OW_JAVA_CLASSPATH"); path != "" {
		return filepath.SplitList(path), nil
	}
	for _, jar := range jars {
		if hasClass(jar, gsonClass) {
			return nil, nil
		}
	}
	const debian = "/usr/share/java/gson.jar"
	if isFile(debian) {
		return []string{debian}, nil
	}
	if home := lookup(environ, "HOME"); home != "" {
		found, _ := filepath.Glob(filepath.Join(home, ".m2/repository/com/google/code/gson/gson/*/gson-*[0-9].jar")) // the pattern is good
		if len(found) > 0 {
			return found[len(found)-1:], nil
		}
	}
	return nil, errors.New("start Java action: there is no Gson, whose JsonObject is what an action takes and gives; " +
		"bundle it in the jar, install it (Debian: libgoogle-gson-java; or mvn dependency:get -Dartifact=com.google.code.gson:gson:2.11.0) " +
		"or name its jar in OW_JAVA_CLASSPATH")
}

func hasClass(jar, name string) bool {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return false
	}
	defer z.Close()
	for _, f := range z.File {
		if f.Name == name {
			return true
		}
	}
	return false
}

// compileJava compiles the user's sources, if there are any, beside where they are.
func compileJava(ctx context.Context, r Request, javac string, path []string) error {
	sources, err := filesBelow(r.bin(), ".java")
	if err != nil || len(sources) == 0 {
		return err
	}
	return runJavac(ctx, r, javac, path, r.bin(), sources)
}

// compileLauncher makes the folder with the launcher's class.
func compileLauncher(ctx context.Context, r Request, javac string, path []string) (string, error) {
	src, lib := filepath.Join(r.Dir, "launcher"), filepath.Join(r.Dir, "lib")
	for _, dir := range []string{src, lib} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("make folder for the launcher: %w", err)
		}
	}
	source := filepath.Join(src, javaLauncherClass+".java")
	if err := os.WriteFile(source, javaLauncher, 0o644); err != nil {
		return "", fmt.Errorf("write launcher: %w", err)
	}
	build := func(ctx context.Context, to string) error {
		return runJavac(ctx, r, javac, path, filepath.Dir(to), []string{source})
	}
	return lib, cached(ctx, r.Env, src, javac, filepath.Join(lib, javaLauncherClass+".class"), build)
}

// runJavac compiles; its error has the compiler's words, with names of files as the user knows them.
func runJavac(ctx context.Context, r Request, javac string, path []string, to string, sources []string) error {
	cmd := exec.CommandContext(ctx, javac, append([]string{"-nowarn", "-encoding", "UTF-8", "-cp", strings.Join(path, ":"), "-d", to}, sources...)...)
	cmd.Env = r.Env
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("compile Java action: %w", context.Cause(ctx))
	}
	if words := strings.TrimSpace(strings.ReplaceAll(string(out), r.bin()+"/", "")); err != nil && words != "" {
		return errors.New(words)
	}
	if err != nil {
		return fmt.Errorf("compile Java action: run %s: %w", javac, err)
	}
	return nil
}

// filesBelow lists the files with an ending in a folder and the folders in it.
func filesBelow(dir, ending string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(name) == ending {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the action's files: %w", err)
	}
	return names, nil
}
