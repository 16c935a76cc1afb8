//go:build cgo

package main

/*
#include <stdlib.h>
#define WEFT_CORE
#include "weft.h"
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

//export weft_abi
func weft_abi() C.int { return C.WEFT_ABI }

//export weft_open
func weft_open(socket, failure *C.char, room C.size_t) C.uint64_t {
	c, err := open(C.GoString(socket))
	if err != nil {
		say(err.Error(), failure, room)
		return 0
	}
	return C.uint64_t(cgo.NewHandle(c))
}

// say writes a text of C's.
func say(text string, to *C.char, room C.size_t) (written int) {
	if room == 0 {
		return 0
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(to)), room)
	n := copy(b[:room-1], text)
	b[n] = 0
	return n
}

func coreOf(mesh C.uint64_t) *core { return cgo.Handle(mesh).Value().(*core) }

// bytesOf are C's, valid during the call.
func bytesOf(p *C.uint8_t, n C.size_t) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(p)), n) }

//export weft_step
func weft_step(mesh C.uint64_t, made *C.uint8_t, n C.size_t, turn *C.weft_turn) C.int {
	c := coreOf(mesh)
	switch c.step(bytesOf(made, n)) {
	case over:
		return C.WEFT_OVER
	case again:
		return C.WEFT_AGAIN
	case wrong:
		return C.WEFT_WRONG
	}
	turn.frame, turn.frame_len = (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(c.frame))), C.size_t(len(c.frame))
	turn.payload, turn.payload_len = (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(c.payload))), C.size_t(len(c.payload))
	return C.WEFT_TURN
}

//export weft_wake
func weft_wake(mesh C.uint64_t) { coreOf(mesh).turns.Wake() }

//export weft_alloc
func weft_alloc(mesh C.uint64_t, n C.size_t) *C.uint8_t {
	r := coreOf(mesh).turns.Alloc(int(n))
	if !r.Shared() {
		return nil
	}
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(r.Bytes())))
}

//export weft_keep
func weft_keep(mesh C.uint64_t, at *C.uint8_t) C.uint64_t {
	free := coreOf(mesh).turns.Keep(unsafe.Pointer(at))
	if free == nil {
		return 0
	}
	return C.uint64_t(cgo.NewHandle(free))
}

//export weft_free
func weft_free(kept C.uint64_t) {
	h := cgo.Handle(kept)
	h.Value().(func())()
	h.Delete()
}

//export weft_enter
func weft_enter(mesh C.uint64_t, frame *C.uint8_t, n C.size_t, why *C.char, room C.size_t) C.size_t {
	return C.size_t(say(coreOf(mesh).enter(bytesOf(frame, n)), why, room))
}

//export weft_close
func weft_close(mesh C.uint64_t) {
	coreOf(mesh).close()
	cgo.Handle(mesh).Delete()
}

// memory is C's, of at least size bytes: what was in it before is lost.
func memory(old []byte, size int) []byte {
	if cap(old) >= size {
		return old[:0]
	}
	drop(old)
	size = max(size, leastFrame)
	return unsafe.Slice((*byte)(C.malloc(C.size_t(size))), size)[:0]
}

func drop(b []byte) { C.free(unsafe.Pointer(unsafe.SliceData(b))) }
