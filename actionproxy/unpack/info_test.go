package unpack_test

import (
	"os"
	"time"
)

// info makes an entry an os.FileInfo, for tar headers.
type info struct{ entry }

func (i info) Name() string { return i.name }
func (i info) Size() int64 {
	if i.entry.mode.IsRegular() {
		return int64(len(i.text))
	}
	return 0
}
func (i info) Mode() os.FileMode  { return i.entry.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
