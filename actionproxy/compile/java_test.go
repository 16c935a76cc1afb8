package compile_test

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/compile"
)

// java is a request that needs a JDK and a Gson.
func java(t *testing.T, main string, files map[string]string) compile.Request {
	need(t, "javac")
	r := request(t, compile.Java, main, files)
	r.Env = append(r.Env, "OW_JAVA_CLASSPATH="+gson(t))
	return r
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
	dir := t.TempDir()
	out, err := exec.Command(need(t, "mvn"), "-q", "-B", "dependency:copy",
		"-Dartifact=com.google.code.gson:gson:2.11.0", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("fetch Gson: %v\n%s", err, out)
	}
	return filepath.Join(dir, name)
}

const javaSource = `package hello;
import com.google.gson.*;
class Main {
  static int n = 0;
  public static JsonObject main(JsonObject in) {
    System.out.println("höllo " + in.get("x"));
    if (in.has("fail")) throw new IllegalStateException("it fell over");
    if (in.has("nothing")) return null;
    if (in.has("deep")) return main(in);
    JsonObject out = new JsonObject();
    out.add("x", in.get("x"));
    out.addProperty("id", System.getenv("__OW_ACTIVATION_ID"));
    out.addProperty("a", System.getenv().get("A"));
    return out;
  }
  public static JsonArray list(JsonArray in) { in.add("ü"); return in; }
}
`

func TestJava(t *testing.T) {
	b := mustStart(t, java(t, "hello.Main", map[string]string{"exec": javaSource}))
	b.expect(`{"value":{"x":1.50},"activation_id":"7"}`, `{"x":1.50,"id":"7","a":"b"}`)
	b.expect(`{"value":{"x":"\ud800<😀"},"activation_id":"8"}`, `{"x":"\ud800<😀","id":"8","a":"b"}`)
	b.expect(`{"value":{"fail":1}}`, `{"error":"java.lang.IllegalStateException: it fell over"}`)
	b.expect(`{"value":{"nothing":1}}`, `{"error":"the action returned null"}`)
	b.expect(`{"value":{"deep":1}}`, `{"error":"java.lang.StackOverflowError"}`)
	b.expect(`{"value":[]}`, `{"error":"the action can't be called: argument type mismatch"}`)
	if !strings.Contains(b.stderr.String(), "at hello.Main.main(Main.java:7)\njava") || !strings.HasPrefix(b.stdout.String(), "höllo 1.50\n") {
		t.Errorf("stdout %.300q, stderr %.300q", b.stdout, b.stderr)
	}
}

func TestJavaArrays(t *testing.T) {
	r := java(t, "hello.Main#list", map[string]string{"exec": javaSource})
	r.Env = append(r.Env, "OW_MEMORY_MB=256")
	mustStart(t, r).expect(`{"value":[1]}`, `[1,"ü"]`)
}

// A jar is on the class path as it is; a folder may have sources, classes and jars.
func TestJavaJars(t *testing.T) {
	r := java(t, "hello.Main", map[string]string{"hello/Main.java": javaSource})
	classes := t.TempDir()
	cmd := exec.Command("javac", "-cp", gson(t), "-d", classes, filepath.Join(r.Dir, "src/hello/Main.java"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	if err := z.AddFS(os.DirFS(classes)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mustStart(t, java(t, "hello.Main", map[string]string{"exec.jar": jar.String()})).expect(`{"value":{"x":1}}`, `{"x":1,"id":null,"a":"b"}`)
	user := "import com.google.gson.*;\npublic class Main { public static JsonObject main(JsonObject in) throws Exception {" +
		" in.addProperty(\"class\", Class.forName(\"hello.Main\").getName()); return in; } }\n"
	mustStart(t, java(t, "", map[string]string{"Main.java": user, "lib/hello.jar": jar.String()})).expect(`{"value":{"x":1}}`, `{"x":1,"class":"hello.Main"}`)
}

func TestJavaErrors(t *testing.T) {
	main := func(method string) string {
		return "import com.google.gson.*;\npublic class Main {\n" + method + "\n}\n"
	}
	for name, c := range map[string]struct{ main, code, want string }{
		"syntax":  {"", main("int"), "Main.java:3: error: <identifier> expected"},
		"class":   {"hello.Other", "package hello; class Unlike {}", "the action has no class hello.Other; its main is named as package.Class#method"},
		"missing": {"Main#run", main(""), "class Main has no public static JsonObject run(JsonObject)"},
		"shape":   {"", main("public static void main(JsonObject in) {}"), "class Main has no public static JsonObject main(JsonObject)"},
		"path":    {"../../Main", main(""), "it is named as package.Class#method"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fails(t, java(t, c.main, map[string]string{"exec": c.code})); !strings.Contains(got, c.want) {
				t.Errorf("words: %q; want %q in them", got, c.want)
			}
		})
	}
}

func TestJavaWithoutGson(t *testing.T) {
	need(t, "javac")
	if _, err := os.Stat("/usr/share/java/gson.jar"); err == nil {
		t.Skip("this machine has Debian's Gson")
	}
	r := request(t, compile.Java, "", map[string]string{"exec": "class Main {}"})
	r.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	if got := fails(t, r); !strings.Contains(got, "name its jar in OW_JAVA_CLASSPATH") {
		t.Errorf("words: %q", got)
	}
}
