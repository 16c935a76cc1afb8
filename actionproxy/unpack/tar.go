package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// isTar looks for what every tar file since 1988 has in its first header.
func isTar(code []byte) bool {
	const at, magic = 257, "ustar"
	return len(code) > at && bytes.HasPrefix(code[at:], []byte(magic))
}

func (u *unpacker) tarGz(code []byte) error {
	gz, err := gzip.NewReader(bytes.NewReader(code))
	if err != nil {
		return fmt.Errorf("read tar.gz: %w", err)
	}
	return u.tar(gz)
}

func (u *unpacker) tar(from io.Reader) error {
	t := tar.NewReader(from)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = u.folder(h.Name)
		case tar.TypeReg:
			err = u.file(h.Name, os.FileMode(h.Mode)&os.ModePerm, t)
		case tar.TypeXGlobalHeader: // what git archive writes: no file
		default:
			err = fmt.Errorf("%s is a link or device; pack only files and folders (tar -h)", h.Name)
		}
		if err != nil {
			return err
		}
	}
}
