package actionproxy_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/process"
)

// A jar is an archive that stays one.
func TestJar(t *testing.T) {
	need(t, "javac", "a JDK of version 17 or newer")
	dir := t.TempDir()
	source := "package hello;\nimport com.google.gson.*;\npublic class Main { public static JsonObject main(JsonObject in) {" +
		" System.out.println(\"hi\"); System.err.println(Main.class.getProtectionDomain().getCodeSource().getLocation().getPath().endsWith(\"/exec.jar\"));" +
		" if (in.has(\"fail\")) throw new RuntimeException(\"fell\"); return in; } }\n"
	jar := javaJar(t, dir, map[string]string{"Main.java": source})
	p := withCompiler(t, "weft:java", t.TempDir(), "OW_JAVA_CLASSPATH="+gson(t))
	if status, body := p.init(t, jar, "hello.None", nil); status != http.StatusBadGateway || !strings.Contains(body, "the action has no class hello.None") {
		t.Errorf("another class: %d %s", status, body)
	}
	if status, body := p.init(t, jar, "hello.Main", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	p.expect(t, `{"a":[1,"ü"]}`, 200, `{"a":[1,"ü"]}`)
	p.expect(t, `{"fail":true}`, 200, `{"error":"java.lang.RuntimeException: fell"}`)
	end := process.Sentinel + "\n"
	if got := p.stdout.String(); got != "hi\n"+end+"hi\n"+end {
		t.Errorf("stdout: %q", got)
	}
	if got := p.stderr.String(); !strings.HasSuffix(got, "true\n"+end+"true\njava.lang.RuntimeException: fell\n\tat hello.Main.main(Main.java:3)\n"+end) {
		t.Errorf("stderr: %q", got)
	}
}

// javaJar compiles sources into a jar.
func javaJar(t *testing.T, dir string, sources map[string]string) []byte {
	t.Helper()
	args := []string{"-cp", gson(t), "-d", filepath.Join(dir, "classes")}
	for name, text := range sources {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	jar := filepath.Join(dir, "action.jar")
	for _, command := range [][]string{append([]string{"javac"}, args...), {"jar", "--create", "--file", jar, "-C", filepath.Join(dir, "classes"), "."}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	b, err := os.ReadFile(jar)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// gson is the path of Gson's jar. Maven fetches it where it isn't there yet.
func gson(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("OW_JAVA_CLASSPATH"); path != "" {
		return path
	}
	const name = "gson-2.11.0.jar"
	if home, err := os.UserHomeDir(); err == nil {
		jar := filepath.Join(home, ".m2/repository/com/google/code/gson/gson/2.11.0", name)
		if _, err := os.Stat(jar); err == nil {
			return jar
		}
	}
	need(t, "mvn", "Maven")
	dir := t.TempDir()
	out, err := exec.Command("mvn", "-q", "-B", "dependency:copy",
		"-Dartifact=com.google.code.gson:gson:2.11.0", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("fetch Gson: %v\n%s", err, out)
	}
	return filepath.Join(dir, name)
}
