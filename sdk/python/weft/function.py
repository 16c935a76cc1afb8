"""From what a user writes to one shape: event(value, context) and end(context), plain or async."""

import copy
import dataclasses
import inspect
import json
import types
import typing


_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))  # Optional[X] and X | None


def function(target=None, *, concurrency=100):
    """Marks a function of a pipeline. Optional; sets how many events an async one works on at once."""

    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; it must be at least 1")

    def mark(target):
        target.__weft_concurrency__ = concurrency
        return target

    return mark if target is None else mark(target)


class Function:
    """A user's callable, class or instance. begin() makes the Handler of one attempt."""

    def __init__(self, target):
        self.target = target
        self.concurrency = getattr(target, "__weft_concurrency__", 100)
        self.stateful = hasattr(target, "event")
        if not callable(target) and not self.stateful:
            raise TypeError(f"main is {_kind(target)}; it must be a function, or a class with event(self, e)")
        work = [target.event, getattr(target, "end", None)] if self.stateful else [target]
        if not self.stateful and not inspect.isroutine(target) and not isinstance(target, type):
            work.append(type(target).__call__)
        self.is_async = any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in work if f)
        self._pristine = None if isinstance(target, type) or not self.stateful else copy.deepcopy(target)

    def begin(self, context):
        """A Handler that remembers nothing of earlier ones."""
        target = self.target
        if not self.stateful:
            return Handler(target, None)
        if self._pristine is not None:
            target = copy.deepcopy(self._pristine)
        else:
            target = target(context) if _wants(target, 1) else target()
        return Handler(target.event, getattr(target, "end", None))


class Handler:
    """event(value, context) and end(context) of one attempt. wants_context: event reads its second one. decode makes
    event's value of a payload."""

    def __init__(self, event, end):
        self.wants_context = _wants(event, 2)
        wish = _annotation(event)
        self.raw = wish is memoryview
        self.decode = _RAW.get(wish, decode) if isinstance(wish, type) else decode
        build = _builder(wish)
        if build is None:
            self.event = event if self.wants_context else lambda value, _: event(value)
        elif self.wants_context:
            self.event = lambda value, context: event(build(value), context)
        else:
            self.event = lambda value, _: event(build(value))
        self.plain = event if build is None and not self.wants_context else None
        if end is None:
            self.end = lambda _: None
        else:
            self.end = end if _wants(end, 1) else lambda _: end()

    def activate(self, value, context):
        """event, of a value that has no payload."""
        return self.event(self.given(value), context)

    def given(self, value):
        return value if self.decode is decode else self.decode(encode(value))


def decode(payload):
    """The value that a payload has."""
    if type(payload) is memoryview:
        payload = str(payload, "utf-8", "surrogatepass")
    return json.loads(payload)


_RAW = {  # what has its payload as it came, by what the function says that its event is
    memoryview: lambda payload: memoryview(payload.encode("utf-8", "surrogatepass") if type(payload) is str else payload),
    bytes: lambda payload: payload.encode("utf-8", "surrogatepass") if type(payload) is str else bytes(payload),
}


def _kind(value):
    return f"a {type(value).__name__}"


def _positional(f):
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # some builtins don't tell
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _wants(f, n):
    """Whether the n-th positional parameter exists and is there for us: it has no default of its own."""
    parameters = _positional(f)
    return len(parameters) >= n and parameters[n - 1].default is inspect.Parameter.empty


def _annotation(f):
    parameters = _positional(f)
    if not parameters:
        return None
    try:
        hints = typing.get_type_hints(f if inspect.isroutine(f) else type(f).__call__)
    except Exception:  # annotations may name what exists only for type checkers
        return None
    return hints.get(parameters[0].name)


def _builder(cls):
    """What makes a cls of a JSON value; None when the value is right as it is.

    Fields that a dataclass doesn't have are passed over, so that a stage before can add some.
    """
    if typing.get_origin(cls) is list and typing.get_args(cls):
        item = _builder(typing.get_args(cls)[0])
        return item and (lambda values: [item(v) for v in values])
    if typing.get_origin(cls) in _UNIONS:
        known = [b for b in map(_builder, typing.get_args(cls)) if b]
        return (lambda value: value if value is None else known[0](value)) if len(known) == 1 else None
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    hints = typing.get_type_hints(cls)
    fields = [(f.name, _builder(hints[f.name])) for f in dataclasses.fields(cls) if f.init]

    def build(value):
        if not isinstance(value, dict):
            raise TypeError(f"{cls.__name__} can't be made of {_kind(value)}")
        return cls(**{name: make(value[name]) if make else value[name]
                      for name, make in fields if name in value})

    return build


def _default(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise TypeError(f"{_kind(value)} can't be written as JSON")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_default).encode


def encode(value):
    """An output as JSON text in ASCII. Lone surrogates stay what they are: \\udcXX."""
    if not isinstance(value, dict) and not dataclasses.is_dataclass(value):
        raise TypeError(f"an output is {_kind(value)}; events are dicts")
    return _encode(value)


_BYTES = (bytes, bytearray, memoryview)


def payload_of(value):
    """The payload of an output, as it is now: what the function may still write is copied."""
    if type(value) not in _BYTES:
        return encode(value).encode("ascii")
    value = json_object(value)
    return value if type(value) is memoryview and value.readonly else bytes(value)


def json_object(value):
    """Bytes as they are: the object in JSON that a payload has to be."""
    if type(value) is memoryview:
        value = value.cast("B")
    if value[:1] != b"{":
        raise TypeError("the payload is no JSON object; events are objects")
    return value


def text_of(value):
    """An output as JSON text."""
    if type(value) not in _BYTES:
        return encode(value)
    text = str(payload_of(value), "utf-8", "surrogatepass")
    json.loads(text)  # it becomes part of something else
    return text


def encode_list(values):
    """What an ordinary action returned as a list: anything that JSON has."""
    return _encode(values)


def outputs(result):
    """What a function returned, as something to iterate over. Generators run as they are read."""
    if result is None:
        return ()
    if isinstance(result, (dict, *_BYTES)) or dataclasses.is_dataclass(result):
        return (result,)
    if isinstance(result, (list, tuple)) or inspect.isgenerator(result) or hasattr(result, "__next__"):
        return result
    raise TypeError(f"the function returned {_kind(result)}; events are dicts: return one, a list of them "
                    "or None, or yield them")
