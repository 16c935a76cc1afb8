package unpack_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/unpack"
)

type entry struct {
	name, text string
	mode       os.FileMode
}

func zipped(t testing.TB, entries ...entry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, entries ...entry) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		h, err := tar.FileInfoHeader(info{e}, e.text)
		if err != nil {
			t.Fatal(err)
		}
		h.Name = e.name
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.mode.IsRegular() {
			if _, err := w.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	gz.Close()
	return b.Bytes()
}

// archives are the entries in each form.
func archives(t testing.TB, entries ...entry) map[string][]byte {
	t.Helper()
	compressed := tarred(t, entries...)
	gz, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"zip": zipped(t, entries...), "tar.gz": compressed, "tar": plain}
}

func TestCode(t *testing.T) {
	good := []entry{{"exec", "#!/bin/sh\n", 0o755}, {"lib/deep/data.txt", "data", 0o644}}
	for name, code := range archives(t, good...) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "src")
			if err := unpack.Code(dir, code, ""); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "lib/deep/data.txt")); err != nil || string(b) != "data" {
				t.Errorf("data.txt: %q, %v", b, err)
			}
			if s, err := os.Stat(filepath.Join(dir, "exec")); err != nil || s.Mode()&0o111 == 0 {
				t.Errorf("exec: %v, %v; want it executable", s, err)
			}
			if !unpack.Executable(filepath.Join(dir, "exec")) || unpack.Executable(filepath.Join(dir, "lib/deep/data.txt")) {
				t.Error("only exec is a program")
			}
		})
	}
}

func TestCodeThatIsNoArchive(t *testing.T) {
	dir := t.TempDir()
	if err := unpack.Code(dir, []byte("def main(): pass"), ""); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "exec")); string(b) != "def main(): pass" {
		t.Errorf("exec: %q", b)
	}
}

func TestJarIsKept(t *testing.T) {
	jar := zipped(t, entry{"META-INF/MANIFEST.MF", "", 0o644}, entry{"A.class", "x", 0o644})
	dir := t.TempDir()
	if err := unpack.Code(dir, jar, "exec.jar"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "exec.jar")); !bytes.Equal(b, jar) {
		t.Error("the jar has changed")
	}
}

func TestArchivesThatAreRefused(t *testing.T) {
	bomb := strings.Repeat("\x00", 18<<20)
	for name, e := range map[string]entry{
		"parent":   {"../x", "x", 0o644},
		"deeper":   {"a/../../x", "x", 0o644},
		"absolute": {"/tmp/x", "x", 0o644},
		"link":     {"x", "/etc/passwd", os.ModeSymlink | 0o777},
		"device":   {"x", "", os.ModeDevice | 0o777},
		"bomb":     {"x", bomb, 0o644},
	} {
		for kind, code := range archives(t, e) {
			if name == "bomb" && kind == "tar" {
				continue // it is as large as its files
			}
			t.Run(name+"."+kind, func(t *testing.T) {
				base := t.TempDir()
				if err := unpack.Code(filepath.Join(base, "src"), code, ""); err == nil {
					t.Error("accepted")
				}
				if _, err := os.Lstat(filepath.Join(base, "x")); err == nil {
					t.Error("wrote outside its folder")
				}
			})
		}
	}
}

func FuzzCode(f *testing.F) {
	f.Add(zipped(f, entry{"exec", "x", 0o755}))
	f.Add(tarred(f, entry{"exec", "x", 0o755}))
	f.Fuzz(func(t *testing.T, code []byte) {
		base := t.TempDir()
		_ = unpack.Code(filepath.Join(base, "src"), code, "") // whatever it says, it stays inside
		if names, _ := os.ReadDir(base); len(names) != 1 {
			t.Errorf("folders: %v", names)
		}
	})
}
