"""Functions for Weft pipelines.

A function is a plain Python callable named main. It needs nothing from this package:

    def main(event):                    # one event in, one out
        return {"price": event["net"] * 1.19}

    def main(event):                    # one in, any number out
        for word in event["line"].split():
            yield {"word": word}

    class main:                         # many in, some out at the end
        def __init__(self):
            self.n = 0
        def event(self, e):
            self.n += 1
        def end(self):
            yield {"count": self.n}

Return a dict, a list of dicts or None, or yield dicts. With "async def" many events are in work at
the same time. A second parameter gets a Context: key, headers, event time, parameters, emit. An
annotation says how the event is wanted: a dataclass is built from the object; a memoryview or bytes are
its payload, the JSON text, as it came. An exception sends the event to the stage's error edge, and so
does {"error": ...} alone, returned as OpenWhisk's actions do. print() goes to the log.

Bytes that are returned or emitted are a payload as it is to be: a JSON object.

    def main(event: memoryview):        # large ones are read where the stage before has written them
        numbers = numpy.frombuffer(event, "<f4", 1000, 64)
        out = weft.alloc(1_000_000)     # and the next one reads this where it is written
        ...
        return out

Such a view can only be read, and ends when the function returns: later use is a ValueError. What was made
of it and is still there, such as a numpy array, keeps that memory as it is.

State belongs in a class, not in globals: after a loss the pipeline begins again where the last
checkpoint was, with a new instance.
"""

from .context import Context
from .function import function
from .mesh import alloc
from .serve import serve

__all__ = ["Context", "alloc", "function", "serve"]
