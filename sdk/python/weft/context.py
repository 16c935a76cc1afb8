"""What a function can know of its event and its stage besides the event itself."""

from datetime import datetime, timedelta, timezone

from . import frame
from .outlet import release

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Stage:
    """What the function is part of. Without a stream: an ordinary activation, part of nothing."""

    def __init__(self, start=None):
        start = start or {}
        self.pipeline = start.get("pipeline", "")
        self.stage = start.get("stage", "")
        self.slot = start.get("slot", 0)
        self.replicas = start.get("replicas", 1)
        self.parameters = start.get("parameters") or {}
        self.edges = start.get("edges") or {}


class Context:
    """Facts of one event, and emit. Valid while the function works on that event.

    pipeline, stage, slot, replicas and parameters are those of the stage; id, key (a str, or None),
    headers (a dict), event_time (a datetime in UTC, or None) and payload (a memoryview that can't be written) are
    those of the event.
    """

    __slots__ = ("_stage", "_event", "_emit", "_payload")

    def __init__(self, stage, event, emit):
        self._stage, self._event, self._emit, self._payload = stage, event, emit, None

    def over(self):
        """The function has returned from the event."""
        if self._payload is not None:
            release(self._payload)

    def __getattr__(self, name):
        if name in ("pipeline", "slot", "replicas", "parameters", "stage"):
            return getattr(self._stage, name)
        raise AttributeError(f"a weft.Context has no {name}")

    @property
    def id(self):
        return self._event.id.decode("utf-8", "surrogateescape")

    @property
    def key(self):
        key = self._event.key
        return key.decode("utf-8", "surrogateescape") if key else None

    @property
    def headers(self):
        return frame.parse_headers(self._event.headers)

    @property
    def event_time(self):
        micros = self._event.event_time
        return _EPOCH + timedelta(microseconds=micros) if micros else None

    @property
    def payload(self):
        if self._payload is None:
            self._payload = memoryview(self._event.payload)
        return self._payload

    def emit(self, value, to=None, key=None, headers=None, event_time=None):
        """Sends an output: to one following stage, or to all. What isn't given is as the input's."""
        edge = frame.ALL_EDGES
        if to is not None:
            if to not in self._stage.edges:
                raise ValueError(f"stage {self._stage.stage} has no edge to {to!r}")
            edge = self._stage.edges[to]
        self._emit(
            value, edge,
            b"" if key is None else key.encode("utf-8", "surrogateescape"),
            b"" if headers is None else frame.pack_headers(headers),
            0 if event_time is None else (event_time - _EPOCH) // timedelta(microseconds=1),
        )
