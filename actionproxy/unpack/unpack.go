// Package unpack writes an action's code into a folder: the files of a zip, tar.gz or tar, anything else
// as the one file "exec". An archive can't write outside the folder, make links or fill the disk.
package unpack

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	maxFiles = 20_000
	maxBytes = 1 << 30  // of all files together
	minBytes = 16 << 20 // an archive may grow to this whatever its ratio
	maxRatio = 100      // of files to archive, above minBytes
)

// Code writes code into dir, which it makes. With jar, an archive that has a META-INF folder is kept
// whole, as the file of that name.
func Code(dir string, code []byte, jar string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for the code: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder for the code: %w", err)
	}
	defer root.Close()
	u := &unpacker{root: root, left: min(maxBytes, max(minBytes, maxRatio*int64(len(code))))}
	switch {
	case bytes.HasPrefix(code, []byte("PK\x03\x04")):
		err = u.zip(code, jar)
	case bytes.HasPrefix(code, []byte("\x1f\x8b")):
		err = u.tarGz(code)
	case isTar(code):
		err = u.tar(bytes.NewReader(code))
	default:
		err = u.file("exec", 0o755, bytes.NewReader(code))
	}
	if err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	return nil
}

// Executable reports whether a file is a program by itself: an ELF file or one that begins with "#!".
func Executable(file string) bool {
	magic := firstBytes(file)
	return magic == elf || strings.HasPrefix(magic, "#!")
}

// ELF reports whether a file is a program of the machine.
func ELF(file string) bool { return firstBytes(file) == elf }

const elf = "\x7fELF"

// firstBytes are a file's first four; fewer when it has fewer or can't be read.
func firstBytes(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	magic := make([]byte, len(elf))
	n, _ := io.ReadFull(f, magic)
	return string(magic[:n])
}

type unpacker struct {
	root  *os.Root
	left  int64 // bytes that may be written
	files int
}

func (u *unpacker) zip(code []byte, jar string) error {
	z, err := zip.NewReader(bytes.NewReader(code), int64(len(code)))
	if err != nil {
		return fmt.Errorf("read zip: %w", err)
	}
	if jar != "" && hasManifest(z) {
		return u.file(jar, 0o644, bytes.NewReader(code))
	}
	for _, f := range z.File {
		mode := f.Mode()
		switch {
		case mode.IsDir():
			err = u.folder(f.Name)
		case mode.IsRegular():
			err = u.zipped(f)
		default:
			err = fmt.Errorf("%s is a link or device; pack only files and folders (zip -r does without -y)", f.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hasManifest(z *zip.Reader) bool {
	for _, f := range z.File {
		if strings.HasPrefix(f.Name, "META-INF/") {
			return true
		}
	}
	return false
}

func (u *unpacker) zipped(f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	defer r.Close()
	return u.file(f.Name, f.Mode().Perm(), r)
}

func (u *unpacker) folder(name string) error {
	name, err := u.local(name)
	if err != nil {
		return err
	}
	return u.root.MkdirAll(name, 0o755)
}

func (u *unpacker) file(name string, mode os.FileMode, from io.Reader) error {
	name, err := u.local(name)
	if err != nil {
		return err
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	to, err := u.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode|0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, io.LimitReader(from, u.left+1))
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if u.left -= n; u.left < 0 {
		return fmt.Errorf("the archive's files are too large: more than %d MiB, or more than %d times the archive", maxBytes>>20, maxRatio)
	}
	return nil
}

// local checks a name of the archive and counts it.
func (u *unpacker) local(name string) (string, error) {
	if u.files++; u.files > maxFiles {
		return "", fmt.Errorf("the archive has more than %d files", maxFiles)
	}
	clean := path.Clean(name)
	if !filepath.IsLocal(clean) || strings.Contains(name, `\`) {
		return "", fmt.Errorf("%q is outside of the archive's folder", name)
	}
	return clean, nil
}
