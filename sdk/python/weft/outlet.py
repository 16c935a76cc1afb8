"""Gathers frames for the proxy and writes them in batches."""

import sys
import time
import traceback

from . import frame
from .function import encode, payload_of

FLUSH_SIZE = 64 << 10  # bytes that are written without waiting for more
ALONE_SIZE = 1 << 20  # bytes that are written from where they are
FLUSH_WAIT = 0.001  # seconds that an output waits for those of later events, and one event's time

_pack = frame.HEADER.pack


class Gone(BaseException):
    """The proxy has closed the stream. No Exception, so that no function takes it for its own."""


class Outlet:
    """The way to the proxy, which always reads: writing never waits for long."""

    enter = None  # notes that a fused stage gets an event, where the core does that

    def __init__(self, sock):
        self._sock = sock
        self._parts, self._size, self._mark = [], 0, 0
        self._flushed = 0.0
        self.attempt = 0
        self.done = self._told = 0  # events finished so far; the number that the proxy knows
        self.counts = bytes  # of fused stages: what they have counted; else nothing

    def begin(self, attempt):
        """From now on frames belong to this attempt."""
        self.flush()
        self.counts = bytes
        self.attempt, self.done, self._told = attempt, 0, 0

    def mark(self):
        """The outputs of one event begin here."""
        self._mark = len(self._parts)

    def data(self, seq, value, edge=frame.ALL_EDGES, key=b"", headers=b"", event_time=0):
        """An output of event seq; 0: of the end."""
        flags, payload = self.payload(value)
        length = len(key) + len(headers) + len(payload)
        if length > frame.MAX_BODY:
            raise ValueError(f"an output of {length} bytes; at most {frame.MAX_BODY}")
        self._parts.append(_pack(frame.DATA, flags, edge, length, self.attempt, seq, 0, event_time, 0,
                                 0, len(key), len(headers)))
        if key or headers:
            self._parts.append(key + headers)
        self._parts.append(payload)
        self._size += frame.SIZE + length
        if self._size >= FLUSH_SIZE:
            self._write()

    def payload(self, value):
        """Flags and payload of an output."""
        return 0, payload_of(value)

    def put(self, seq, type, edge, id, key, headers, event_time, payload):
        """What fused stages have made of event seq."""
        self._parts.append(frame.pack(frame.Frame(type, 0, edge, self.attempt, seq, 0, event_time, 0, id, key, headers, payload)))
        self._size += len(self._parts[-1])
        if self._size >= FLUSH_SIZE:
            self._write()

    def tell(self, type, seq=0, payload=b"", flags=0):
        """Any other frame."""
        self._parts.append(frame.pack(frame.Frame(type, flags, 0, self.attempt, seq, payload=payload)))
        self._size += frame.SIZE + len(payload)

    def fail(self, seq, error):
        """Event seq failed: its outputs since mark() are dropped."""
        report(error)
        del self._parts[self._mark:]
        self.tell(frame.ERROR, seq, encode(failure(error)).encode("ascii"))

    def finished(self, seq):
        """All events up to seq are finished."""
        self.done = seq
        if time.monotonic() - self._flushed > FLUSH_WAIT:
            self.flush()

    def finished_one(self, seq):
        """Event seq is finished, perhaps not those before it."""
        self.tell(frame.DONE, seq)
        if time.monotonic() - self._flushed > FLUSH_WAIT:
            self.flush()

    def flush(self):
        """Tells what is finished, and writes everything."""
        if self.done > self._told:
            self.tell(frame.DONE, self.done, self.counts(), frame.CUMULATIVE)
            self._told = self.done
        self._write()
        self._flushed = time.monotonic()

    def idle(self):
        """There is no more input for now: nothing waits, and neither will the first output that follows."""
        self.flush()
        self._flushed = 0.0

    def send(self):
        """Writes what there is."""
        self._write()

    def _write(self):
        parts, size, self._parts, self._size, self._mark = self._parts, self._size, [], 0, 0
        try:
            if size < ALONE_SIZE:
                parts = [b"".join(parts)] if parts else []
            for part in parts:
                self._sock.sendall(part)
        except OSError as e:
            raise Gone from e


class ActionError(Exception):
    """An error as OpenWhisk's actions return it: {"error": cause}, and nothing beside it."""

    def __init__(self, cause):
        super().__init__(cause)
        self.cause = cause


def failure(error):
    """The one form of an error, in activations and on streams."""
    if isinstance(error, ActionError):
        return {"error": error.cause}
    return {"error": f"{type(error).__name__}: {error}"}


def release(view):
    """Ends a view; one that something else was made of goes with that."""
    try:
        view.release()
    except BufferError:
        pass


def report(error):
    """Leaves the error and where it came from in the log."""
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
