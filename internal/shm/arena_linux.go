package shm

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// readable are the seals of memory that its owner alone can write: with them no new mapping is writable, nor
// becomes so, and nobody can punch holes, whose next read could end with SIGBUS.
const readable = seals | sealFutureWrite

// CreateArena makes a memory file like Create's, for MapOwner. Until then whoever has it can map it to write.
func CreateArena(name string, size int) (*os.File, error) {
	return create(name, size, seals&^sealSeal)
}

// MapOwner checks and maps what CreateArena has made, to read and write, and seals it: from now on it can be given
// to others, who can but read it. f stays the caller's.
func MapOwner(f *os.File, size int) (*Memory, error) {
	fd := int(f.Fd())
	if err := check(fd, size, seals&^sealSeal); err != nil {
		return nil, err
	}
	m, err := mapFile(fd, size, syscall.PROT_READ|syscall.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	if _, err := fcntl(fd, addSeals, sealFutureWrite|sealSeal); err != nil {
		return nil, errors.Join(fmt.Errorf("shm: seal an arena: %w", err), m.Close())
	}
	return m, nil
}

// MapLent checks that f is an arena of at most so many bytes that nobody but its owner can write, or resize, and
// maps it to read. Writing to it ends the process. f can be closed afterwards.
func MapLent(f *os.File, most int) (*Memory, error) {
	fd := int(f.Fd())
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("shm: look at the file: %w", err)
	}
	if st.Size > int64(most) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are mapped", ErrFile, st.Size, most)
	}
	if err := check(fd, int(st.Size), readable); err != nil {
		return nil, err
	}
	return mapFile(fd, int(st.Size), syscall.PROT_READ)
}
