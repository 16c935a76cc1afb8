package shm

import (
	"runtime"
	"syscall"
	"unsafe"
)

// What the standard library's syscall does not have. This room is built into functions, offline, so that it
// imports nothing else.
const (
	memfdCloexec      = 0x1
	memfdAllowSealing = 0x2
	memfdNoexecSeal   = 0x8

	addSeals = 1033 // commands of fcntl
	getSeals = 1034

	sealSeal        = 0x1
	sealShrink      = 0x2
	sealGrow        = 0x4
	sealFutureWrite = 0x10
	sealExec        = 0x20 // comes with memfdNoexecSeal
)

// memfdNumber is memfd_create's number: newer architectures have one list.
func memfdNumber() uintptr {
	if runtime.GOARCH == "amd64" {
		return 319
	}
	return 279
}

func memfdCreate(name string, flags uintptr) (int, error) {
	b, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, e := syscall.Syscall(memfdNumber(), uintptr(unsafe.Pointer(b)), flags, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

func fcntl(fd, command, arg int) (int, error) {
	n, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(command), uintptr(arg))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}
