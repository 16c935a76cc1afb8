package deploy

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// maxCode bounds an action's code before base64, in bytes: the platform takes 48 MiB of text.
const maxCode = 36 << 20

// code reads a function's file, folder or zip into what an action runs. A source file goes as text,
// everything else as base64 of a zip, as wsk sends it.
func code(dir string, f *pipeline.Function) (*openwhisk.Exec, error) {
	name := sourcePath(dir, f)
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Source, err)
	}
	var b []byte
	if info.IsDir() {
		b, err = zipFolder(os.DirFS(name))
	} else {
		b, err = readCode(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Source, err)
	}
	var exec *openwhisk.Exec
	switch {
	case isZip(b):
		exec = openwhisk.CodeExec(f.Kind, base64.StdEncoding.EncodeToString(b), true)
	case isELF(b):
		z, err := zipFile("exec", b)
		if err != nil {
			return nil, fmt.Errorf("zip %s: %w", f.Source, err)
		}
		exec = openwhisk.CodeExec(f.Kind, base64.StdEncoding.EncodeToString(z), true)
	case utf8.Valid(b):
		exec = openwhisk.CodeExec(f.Kind, string(b), false)
	default:
		return nil, fmt.Errorf("%s is neither text nor a zip nor an executable", f.Source)
	}
	exec.Main = f.Main
	return exec, nil
}

// sourcePath is where a function's source is; the spec has it relative to its own folder.
func sourcePath(dir string, f *pipeline.Function) string {
	if filepath.IsAbs(f.Source) {
		return f.Source
	}
	return filepath.Join(dir, f.Source)
}

func isZip(b []byte) bool { return bytes.HasPrefix(b, []byte("PK\x03\x04")) }
func isELF(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

func readCode(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCode+1))
	if err == nil && len(b) > maxCode {
		return nil, fmt.Errorf("more than %d MiB of code", maxCode>>20)
	}
	return b, err
}

// zipFolder packs the regular files below root; hidden ones and caches stay out.
func zipFolder(root fs.FS) ([]byte, error) {
	return zipped(func(z *zip.Writer) error { return addFolder(z, root, "") })
}

// zipped is the zip that fill fills.
func zipped(fill func(*zip.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	err := fill(z)
	if err == nil {
		err = z.Close()
	}
	if err == nil && out.Len() > maxCode {
		err = fmt.Errorf("more than %d MiB of code", maxCode>>20)
	}
	return out.Bytes(), err
}

// addFolder adds the files below root, in the folder to of the zip.
func addFolder(z *zip.Writer, root fs.FS, to string) error {
	return fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		hidden := name != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "__pycache__")
		switch {
		case err != nil:
			return err
		case hidden && e.IsDir():
			return fs.SkipDir
		case hidden || !e.Type().IsRegular():
			return nil
		}
		return addFile(z, root, name, to)
	})
}

func addFile(z *zip.Writer, root fs.FS, name, to string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &zip.FileHeader{Name: path.Join(to, name), Method: zip.Deflate}
	h.SetMode(info.Mode().Perm()) // and no time: the same files make the same zip
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}

func zipFile(name string, b []byte) ([]byte, error) {
	return zipped(func(z *zip.Writer) error { return addBytes(z, name, 0o755, b) })
}

func addBytes(z *zip.Writer, name string, mode fs.FileMode, b []byte) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}
