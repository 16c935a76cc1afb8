"""Fused stages: several functions in one process, and an event goes from one to the next by a call."""

import json
import struct

from . import frame
from .context import Context, Stage
from .function import Function, encode, outputs, text_of
from .outlet import ActionError, failure, release, report
from .serve import run
from .stream import Stream as OneStage
from .stream import no_emit

_NEXT = -1  # the edge to the next stage
_MAX_CAUSE = 0xFFFF  # bytes that a key can hold
_COUNTS = struct.Struct("<II")


class Fused:
    """The functions of (stage, main) pairs, in the order of an event's way."""

    is_async = False

    def __init__(self, parts):
        self.parts = [(stage, Function(main)) for stage, main in parts]
        for stage, function in self.parts:
            if function.is_async:
                raise TypeError(f"stage {stage} is async and can't be fused: write fuse: never")

    def open(self, outlet):
        """The stream of a socket."""
        return Stream(outlet, self)

    def chain(self, start, put):
        """The links of one attempt, the first of them. put takes what leaves the group."""
        told = start.get("fused") or [{"stage": stage} for stage, _ in self.parts]
        if len(told) != len(self.parts):
            raise ValueError(f"the process serves {len(self.parts)} stages, and Start names {len(told)}")
        links = [Link(k, Stage({**start, "parameters": None, "edges": None, **own}), function, put)
                 for k, (own, (_, function)) in enumerate(zip(told, self.parts))]
        for link, following in zip(links, links[1:]):
            link.follow(following)
        return links

    def begin(self, _):
        """The handler of ordinary activations."""
        return Activation(self)


class Activation:
    """Ordinary activations: what leaves the group is the answer."""

    def __init__(self, fused):
        self.made = []
        self.links = fused.chain({}, self.put)

    def put(self, type, edge, id, key, headers, time, payload):
        if type == frame.FAILED:
            raise ActionError(json.loads(key)["error"])
        self.made.append(json.loads(payload))

    def activate(self, value, _):
        self.made = []
        first = self.links[0]
        first.event(first.handler.given(value), frame.Frame(frame.DATA))
        yield from self.made


class Link:
    """One stage in one attempt. What it makes of an event is kept until it has returned: an error drops it,
    and then no further stage may have seen it."""

    def __init__(self, index, stage, function, put):
        self.index, self.stage, self.put = index, stage, put
        self.all = frame.ALL_EDGES - index
        self.out = True  # what goes to all edges leaves the group
        self.next = None
        self.enter = None  # is told what this stage gets, and may say why it fails on that without a look
        self.took = self.inside = 0  # events, and outputs that went to the next stage alone, since they were told
        self.made = None
        self.handler = function.begin(Context(stage, frame.Frame(frame.START), no_emit))

    def follow(self, following):
        self.next, self.out = following, bool(self.stage.edges)
        self.stage.edges = {**self.stage.edges, following.stage.stage: _NEXT}

    def event(self, value, f):
        """Runs an event through this stage and those behind it. What it raises is this stage's."""
        self.made = []
        handler = self.handler
        context = self.context(f) if handler.wants_context else None
        try:
            result = handler.event(value, context)
            if type(result) is dict and len(result) == 1 and "error" in result:
                raise ActionError(result["error"])
            self.collect(result)
        finally:
            if handler.raw:
                release(value)
            if context:
                context.over()
        self.hand_on(f)

    def end(self):
        self.made = []
        f = frame.Frame(frame.END, id=f"{self.stage.stage}[{self.stage.slot}]:end".encode())
        self.collect(self.handler.end(self.context(f)))
        self.hand_on(f)

    def context(self, f):
        return Context(self.stage, f, self.keep)

    def collect(self, result):
        for value in outputs(result):
            self.keep(value)

    def keep(self, value, edge=frame.ALL_EDGES, key=b"", headers=b"", event_time=0):
        self.made.append((text_of(value), edge, key, headers, event_time))

    def hand_on(self, f):
        """Sends what was made of an event, as the proxy would."""
        made, self.made = self.made, None
        for i, (text, edge, key, headers, time) in enumerate(made):
            id = b"%b/%d" % (f.id, i)
            headers, time = headers or f.headers, time or f.event_time
            leaves = edge != _NEXT and (edge != frame.ALL_EDGES or self.out)
            if leaves:
                self.put(frame.DATA, self.all if edge == frame.ALL_EDGES else edge, id, key, headers, time, text.encode("utf-8", "surrogatepass"))
            if self.next and edge in (_NEXT, frame.ALL_EDGES):
                self.inside += not leaves
                self.next.take(text, frame.Frame(frame.DATA, event_time=time, id=id, key=key, headers=headers))

    def take(self, text, f):
        """An event of the stage before. When it fails, that is told, and the others go on."""
        self.took += 1
        try:
            dead = self.enter and self.enter(self.index, f)
            if not dead:
                self.event(self.handler.decode(text), f)
                return
            cause = {"error": dead}
        except Exception as e:
            report(e)
            cause = failure(e)
        key = encode(cause).encode("ascii")
        if len(key) > _MAX_CAUSE:
            key = encode({"error": str(cause["error"])[:1000]}).encode("ascii")
        self.put(frame.FAILED, self.index, f.id, key, f.headers, f.event_time, text.encode("utf-8", "surrogatepass"))


class Stream(OneStage):
    """The stream of a group: its handler is the links."""

    def start(self, f):
        self.outlet.begin(f.attempt)
        self.seq = 0
        start = json.loads(f.payload)
        self.handler = self.function.chain(start, self.put)
        # After a death: of so many events the proxy wants to know which stage gets what; and why stages fail on
        # events that have killed too often, by their ids.
        self.careful, self.skip = start.get("careful", 0), start.get("skip", {})
        enter = self.outlet.enter or self.careful and self.enter
        for link in self.handler:
            link.enter = enter
        self.outlet.counts = self.counts
        self.outlet.tell(frame.READY)
        self.outlet.idle()

    def put(self, *frame):
        self.outlet.put(self.seq, *frame)

    def enter(self, stage, f):
        cause = self.skip.get(f.id.decode("utf-8", "surrogateescape"))
        if self.careful and not cause:
            self.outlet.put(self.seq, frame.AT, stage, f.id, b"", b"", 0, b"")
            self.outlet.send()
        return cause

    def counts(self):
        b = b"".join(_COUNTS.pack(link.took, link.inside) for link in self.handler)
        for link in self.handler:
            link.took = link.inside = 0
        return b

    def event(self, f):
        self.seq = f.seq
        self.outlet.mark()
        try:
            self.handler[0].event(self.handler[0].handler.decode(f.payload), f)
        except Exception as e:
            self.outlet.fail(f.seq, e)
        self.careful = max(0, self.careful - 1)
        self.outlet.finished(f.seq)

    def end(self):
        self.outlet.flush()
        self.seq = 0
        for link in self.handler:
            link.end()
        self.outlet.tell(frame.END, payload=self.counts())
        self.outlet.flush()


def serve_all(parts):
    """Serves the action proxy with (stage, main) pairs until it closes standard input."""
    run(Fused(parts))
