"""The stream of a function that is no coroutine: events are handled one after the other."""

import json

from . import frame
from .context import Context, Stage
from .function import outputs
from .outlet import ActionError, Outlet, release

READ_SIZE = 256 << 10


def run(sock, function):
    """Serves the proxy until it closes the socket. An error of the start or the end is raised."""
    stream = stream_of(Outlet(sock), function)
    reader = frame.Reader()
    while True:
        chunk = sock.recv(READ_SIZE)
        if not chunk:
            return
        for f in reader.feed(chunk):
            stream.take(f)
        stream.outlet.idle()


def stream_of(outlet, function):
    """What handles the frames of a function, or of fused ones."""
    return function.open(outlet) if hasattr(function, "open") else Stream(outlet, function)


def no_emit(*_):
    raise RuntimeError("only event and end can emit")


class Stream:
    """One attempt after the other, on one socket."""

    def __init__(self, outlet, function):
        self.outlet, self.function = outlet, function
        self.stage = self.handler = None

    def take(self, f):
        if f.type == frame.DATA:
            self.event(f)
        elif f.type == frame.START:
            self.start(f)
        elif f.type == frame.END:
            self.end()
        # types of later protocol versions are passed over

    def start(self, f):
        """A new attempt: what the earlier one gathered goes with its handler."""
        self.outlet.begin(f.attempt)
        self.stage = Stage(json.loads(f.payload))
        self.handler = self.function.begin(Context(self.stage, frame.Frame(f.type), no_emit))
        self.outlet.tell(frame.READY)
        self.outlet.idle()

    def event(self, f):
        outlet, handler, seq = self.outlet, self.handler, f.seq
        outlet.mark()
        value = context = None
        try:
            value = handler.decode(f.payload)
            if handler.plain:
                result = handler.plain(value)
            else:
                if handler.wants_context:
                    context = self.context(f)
                result = handler.event(value, context)
            if type(result) is dict:
                if len(result) == 1 and "error" in result:
                    raise ActionError(result["error"])
                outlet.data(seq, result)
            elif result is not None:
                for out in outputs(result):
                    outlet.data(seq, out)
        except Exception as e:
            outlet.fail(seq, e)
        if handler.raw and value is not None:
            release(value)
        if context:
            context.over()
        outlet.finished(seq)

    def end(self):
        self.outlet.flush()
        for out in outputs(self.handler.end(self.context(frame.Frame(frame.END)))):
            self.outlet.data(0, out)
        self.outlet.tell(frame.END)
        self.outlet.flush()

    def context(self, f):
        return Context(self.stage, f, lambda *output: self.outlet.data(f.seq, *output))
