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

// Watch opens a memory file anew, twice: once to be given away, and once to see, with Alone, when all have let go of
// what was given. f is closed.
func Watch(f *os.File) (given, watch *os.File, err error) {
	defer f.Close()
	if given, err = anew(f, os.O_RDWR); err != nil {
		return nil, nil, err
	}
	if watch, err = anew(f, os.O_RDONLY); err != nil {
		return nil, nil, errors.Join(err, given.Close())
	}
	return given, watch, nil
}

// Watched gives a watched file away once more.
func Watched(watch *os.File) (given *os.File, err error) { return anew(watch, os.O_RDWR) }

func anew(f *os.File, flag int) (*os.File, error) {
	other, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flag, 0)
	if err != nil {
		return nil, fmt.Errorf("shm: open a memory file anew: %w", err)
	}
	return other, nil
}

// Alone tells whether a file of Watch's is the only one left: the kernel knows whether anybody else has the memory
// open, on its way or mapped, and gives a lease for writing only when nobody has. false, too, where it can't tell.
func Alone(watch *os.File) bool {
	fd := int(watch.Fd())
	if _, err := fcntl(fd, syscall.F_SETLEASE, syscall.F_WRLCK); err != nil {
		return false
	}
	_, err := fcntl(fd, syscall.F_SETLEASE, syscall.F_UNLCK)
	return err == nil
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
