"""The mesh of the function's slot in this process, by the native core (libweft.so; weft.h has its interface): turns
come from memory that the stages before have written, and neither proxy sees an event."""

import os
import signal
import socket
import struct
import threading
import weakref

from . import frame, outlet
from .function import json_object
from .stream import stream_of

ABI = 1
REFER_FROM = 16 << 10  # bytes of a payload that is read where it lies

_OVER, _TURN, _AGAIN = 0, 1, 2
_MOST_WORDS = 2000  # bytes of a reason
_turn = struct.Struct("PNPN")  # weft_turn
_place = struct.Struct("=QQ")  # what a payload is where frame.REFERS is set
_current = None  # the mesh that this process holds


def load():
    """The native core; None where there is none that runs here, and the stream does."""
    path = os.environ.get("WEFT_CORE") or os.path.join(os.path.dirname(__file__), "libweft.so")
    if not os.path.isabs(path) or not os.path.exists(path):
        return None
    try:
        import ctypes
        core = ctypes.CDLL(path)
        if core.weft_abi() != ABI:
            return None
        number, address, size = ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t
        for name, result, *arguments in (
            ("open", number, ctypes.c_char_p, address, size),
            ("step", ctypes.c_int, number, ctypes.c_char_p, size, address),
            ("wake", None, number),
            ("alloc", address, number, size),
            ("keep", number, number, address),
            ("free", None, number),
            ("enter", size, number, ctypes.c_char_p, size, address, size),
            ("close", None, number),
        ):
            call = getattr(core, "weft_" + name)
            call.restype, call.argtypes = result, arguments
    except (ImportError, OSError, AttributeError):  # no ctypes, or a library for another system
        return None
    return core


def run(core, path, function):
    """Holds the mesh that the proxy describes, until it ends that. An error of the start or the end is raised."""
    global _current
    mesh = Mesh(core, path)
    gathered = Outlet(mesh)
    stream = stream_of(gathered, function)
    try:
        _current = mesh
        with Waker(mesh):
            while True:
                f = mesh.step(gathered.take())
                if f is None:
                    return
                stream.take(f)
                mesh.settle()
    finally:
        _current = None
        mesh.close()


def alloc(size):
    """Writable memory of so many bytes for an output: those that follow on this host read it where it was written.

    It is the function's until that returns, and holds what was in it before. memory[:n] can be an output, too."""
    memory = _current.alloc(size) if _current else None
    return memoryview(bytearray(size)) if memory is None else memory


class Mesh:
    """One mesh. Its methods are the main thread's."""

    def __init__(self, core, path):
        import ctypes
        self._ctypes, self._core = ctypes, core
        self._turn = ctypes.create_string_buffer(_turn.size)
        self._turn_at = ctypes.addressof(self._turn)
        self._lent = []  # of this turn: address, view, reference to what the view is of
        self._written = []  # of these, the memory of alloc: first address and the one behind the last
        self._kept = {}  # beyond their turns: references, by what frees them
        self._owner = threading.get_ident()
        words = ctypes.create_string_buffer(_MOST_WORDS)
        self._mesh = core.weft_open(os.fsencode(path), ctypes.addressof(words), len(words))
        if not self._mesh:
            raise OSError(words.value.decode("utf-8", "replace"))
        mesh = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: mesh() and mesh()._leave())

    def _leave(self):
        """In a child of fork, which has none of the threads that the core needs."""
        self._core = None

    def step(self, made):
        """Ends a turn with the frames that the function has made of it, and waits for the next one; None at the end."""
        if self._core is None:
            os._exit(1)  # a child that goes on as if it were the function
        while True:
            result = self._core.weft_step(self._mesh, made, len(made), self._turn_at)
            if result != _AGAIN:
                break
            made = b""  # Python runs handlers of signals in between
        if result == _OVER:
            return None
        if result != _TURN:
            raise RuntimeError("the native core can't read what the function has made")
        at, size, payload_at, payload_size = _turn.unpack_from(self._turn)
        data = self._ctypes.string_at(at, size)
        if not payload_at:
            return frame.parse(data)[0]
        return frame.parse_head(data, self._view(payload_at, payload_size, False))

    def _view(self, at, size, writable):
        """A view of memory that isn't Python's, valid until the turn ends or all that is made of it is gone."""
        base = (self._ctypes.c_ubyte * size).from_address(at)
        view = memoryview(base).cast("B")
        if not writable:
            view = view.toreadonly()
        self._lent.append((at, view, weakref.ref(base)))
        return view

    def alloc(self, size):
        """Memory of this turn; None where there is none that others can read in place, and for other threads than the
        one that takes turns: those may end meanwhile."""
        if threading.get_ident() != self._owner:
            return None
        at = size >= REFER_FROM and self._core and self._core.weft_alloc(self._mesh, size)
        if not at:
            return None
        self._written.append((at, at + size))
        return self._view(at, size, True)

    def place(self, payload):
        """Where a payload lies that has not to be copied; None for another one."""
        if payload.readonly:
            for at, _, base in self._lent:
                if payload.obj is base() and payload.nbytes == len(payload.obj):
                    return _place.pack(at, payload.nbytes)
        elif self._written and payload.c_contiguous and payload.nbytes:
            at = self._ctypes.addressof(self._ctypes.c_ubyte.from_buffer(payload))
            if any(first <= at and at + payload.nbytes <= behind for first, behind in self._written):
                return _place.pack(at, payload.nbytes)
        return None

    def settle(self):
        """Ends the views of this turn. Memory that something made of them still uses, such as a numpy array, is kept
        as it is until that is gone."""
        if not self._lent:
            return
        lent, self._lent, self._written = self._lent, [], []
        while lent:
            at, view, reference = lent.pop()
            outlet.release(view)
            del view
            base = reference()
            if base is not None and self._core:
                self._keep(at, base)

    def _keep(self, at, base):
        kept = self._core.weft_keep(self._mesh, at)

        def gone(_, self=self):
            del self._kept[kept]
            if self._core:
                self._core.weft_free(kept)

        if kept:
            self._kept[kept] = weakref.ref(base, gone)

    def enter(self, f):
        """Notes that a fused stage gets an event. A reason is why it fails on that without a look."""
        words = self._ctypes.create_string_buffer(_MOST_WORDS)
        data = frame.pack(f)
        self._core.weft_enter(self._mesh, data, len(data), self._ctypes.addressof(words), len(words))
        return words.value.decode("utf-8", "replace")

    def wake(self):
        self._core.weft_wake(self._mesh)

    def close(self):
        if self._core:
            self._core.weft_close(self._mesh)


class Waker:
    """Has a step return when a signal has come, so that Python runs its handler."""

    def __init__(self, mesh):
        self._mesh = mesh

    def __enter__(self):
        self._ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._theirs, self._before = theirs, signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._loop, name="weft", daemon=True)
        self._thread.start()

    def _loop(self):
        while self._ours.recv(100):
            self._mesh.wake()

    def __exit__(self, *_):
        signal.set_wakeup_fd(self._before)
        self._theirs.shutdown(socket.SHUT_RDWR)  # ends the loop, though children made by fork have it, too
        self._theirs.close()
        self._thread.join()
        self._ours.close()


class Outlet(outlet.Outlet):
    """Gathers the frames of a turn, which leave when it is done."""

    def __init__(self, mesh):
        super().__init__(None)
        self._mesh = mesh

    def payload(self, value):
        if type(value) is memoryview and value.nbytes >= REFER_FROM:
            place = self._mesh.place(json_object(value))
            if place is not None:
                return frame.REFERS, place
        flags, payload = super().payload(value)
        if len(payload) < REFER_FROM:
            return flags, payload
        memory = self._mesh.alloc(len(payload))
        if memory is None:
            return flags, payload
        memory[:] = payload
        return frame.REFERS, self._mesh.place(memory)

    def enter(self, _, f):
        return self._mesh.enter(f)

    def finished(self, _):
        counts = self.counts()
        if counts:
            self.tell(frame.DONE, payload=counts)

    def flush(self):
        pass

    idle = send = _write = flush

    def take(self):
        """What was made in this turn."""
        made, self._parts, self._size, self._mark = b"".join(self._parts), [], 0, 0
        return made
