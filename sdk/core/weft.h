/*
 * libweft: the mesh of a stage's slot in the process of its function, for languages other than Go. It is the mesh that
 * the Go SDK holds, with alignment of barriers, credit, attempts, payloads in place, and what its proxy has to know
 * of it (sdk/PROTOCOL.md, sections 8 and 9).
 *
 * What goes over the socket of a stream (section 3) goes through weft_step here, frame for frame; a turn is one of
 * Start, Data and End. All sizes are in bytes, all integers as the machine has them.
 *
 * One thread makes all calls for a mesh, but weft_free and weft_wake, which any thread may make at any time. A child
 * made by fork must make none. No call takes memory over from its caller, nor keeps a pointer to it.
 *
 * The library takes no signal that is the program's: handlers for SIGSEGV and its like pass on what isn't ours.
 */
#ifndef WEFT_H
#define WEFT_H

#include <stddef.h>
#include <stdint.h>

/* WEFT_ABI is the version of everything here; a library is used when weft_abi() is the one a caller was written for. */
#define WEFT_ABI 1

/* weft_turn is what weft_step gives. Everything it points to is only to be read, and void at the next weft_step. */
typedef struct {
	const uint8_t *frame;   /* a frame; where payload isn't NULL, without its payload */
	size_t frame_len;
	const uint8_t *payload; /* of a large event, where it lies: often another process's memory, which that one may write */
	size_t payload_len;
} weft_turn;

/* What weft_step returns. */
enum {
	WEFT_OVER = 0,  /* there is no further turn: weft_close is next */
	WEFT_TURN = 1,  /* here is one */
	WEFT_AGAIN = 2, /* none: weft_wake was called */
	WEFT_WRONG = -1 /* what was made isn't as section 4 has it: weft_close is next */
};

/* WEFT_REFERS in the flags of a Data frame says that its payload is not the payload but where it lies: an address and a
 * length, 8 bytes each, inside the event's payload or memory of weft_alloc. */
#define WEFT_REFERS 4

#ifndef WEFT_CORE

int weft_abi(void);

/* weft_open takes the mesh that the proxy at a Unix socket describes. It returns a handle, or 0 and writes why, ended by
 * a zero, into error, which has room for so many bytes. */
uint64_t weft_open(const char *socket, char *error, size_t room);

/* weft_step ends the turn before, if there is one, with the frames that the function has made in it, and waits for the
 * next one. A turn is done when its step ends it: Ready and Done aren't needed; Done and End carry the counts of fused
 * stages. */
int weft_step(uint64_t mesh, const uint8_t *made, size_t made_len, weft_turn *turn);

/* weft_wake has weft_step return WEFT_AGAIN, at once or the next time that it would wait. */
void weft_wake(uint64_t mesh);

/* weft_alloc gives memory for an output's payload, to be written until the end of the turn, and NULL when there is none
 * that others can read in place: then any memory will do. It holds what was in it before. */
uint8_t *weft_alloc(uint64_t mesh, size_t size);

/* weft_keep keeps the turn's large payload, or memory of weft_alloc, that begins at an address, as it is beyond the
 * turn, and beyond weft_close, until weft_free of what it returns. 0: nothing begins there. */
uint64_t weft_keep(uint64_t mesh, const uint8_t *at);
void weft_free(uint64_t kept);

/* weft_enter notes that a fused stage behind the first gets an event, of whose frame id and headers are read. It returns 0,
 * or writes why the stage fails on it without a look, ended by a zero, and returns that text's length. */
size_t weft_enter(uint64_t mesh, const uint8_t *frame, size_t frame_len, char *why, size_t room);

/* weft_close ends the mesh, if the proxy has not. */
void weft_close(uint64_t mesh);

#endif
#endif
