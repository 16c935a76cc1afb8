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
annotation says how the event is wanted: a dataclass is built from the object. An exception sends the
event to the stage's error edge, and so does {"error": ...} alone, returned as OpenWhisk's actions do.
print() goes to the log.

State belongs in a class, not in globals: after a loss the pipeline begins again where the last
checkpoint was, with a new instance.
"""

from .context import Context
from .function import function
from .serve import serve

__all__ = ["Context", "function", "serve"]
