"""The frame, as on every segment of an event's way: a fixed header, then id, key, headers, payload."""

import struct
from typing import NamedTuple

HEADER = struct.Struct("<BBHIQQQqqHHI")
SIZE = HEADER.size  # 56
MAX_BODY = (1 << 30) + (1 << 20)
ALL_EDGES = 0xFFFF

DATA, BARRIER, END, ACK, CREDIT, HELLO, WELCOME, BYE = range(1, 9)
START, READY, DONE, ERROR, FAILED, AT = range(16, 22)

CUMULATIVE, REFERS = 1, 4

_PAIR = struct.Struct("<HH")


class Frame(NamedTuple):
    """One frame. The four last fields are bytes; headers are encoded, see headers()."""

    type: int
    flags: int = 0
    edge: int = 0
    attempt: int = 0
    seq: int = 0
    key_hash: int = 0
    event_time: int = 0  # microseconds since the epoch, 0: unknown
    sent: int = 0  # microseconds since the epoch
    id: bytes = b""
    key: bytes = b""
    headers: bytes = b""
    payload: bytes = b""


def pack(f):
    """The bytes of a frame."""
    length = len(f.id) + len(f.key) + len(f.headers) + len(f.payload)
    head = HEADER.pack(f.type, f.flags, f.edge, length, f.attempt, f.seq, f.key_hash,
                       f.event_time, f.sent, len(f.id), len(f.key), len(f.headers))
    return b"".join((head, f.id, f.key, f.headers, f.payload))


def need(data, at=0):
    """How many bytes the frame at this place has; SIZE while its header isn't complete."""
    if len(data) - at < SIZE:
        return SIZE
    h = HEADER.unpack_from(data, at)
    if h[3] > MAX_BODY or h[9] + h[10] + h[11] > h[3]:
        raise ValueError("frame: lengths do not fit")
    return SIZE + h[3]


def parse(data, at=0):
    """The frame at this place and where it ends; None and the same place when it isn't complete."""
    if len(data) - at < SIZE:
        return None, at
    (type, flags, edge, length, attempt, seq, key_hash, event_time, sent,
     id_len, key_len, headers_len) = HEADER.unpack_from(data, at)
    key = at + SIZE + id_len
    headers = key + key_len
    payload = headers + headers_len
    end = at + SIZE + length
    if payload > end or length > MAX_BODY:
        raise ValueError("frame: lengths do not fit")
    if len(data) < end:
        return None, at
    return Frame(type, flags, edge, attempt, seq, key_hash, event_time, sent,
                 data[at + SIZE:key], data[key:headers], data[headers:payload], data[payload:end]), end


def parse_head(data, payload):
    """The frame whose payload lies elsewhere."""
    h = HEADER.unpack_from(data)
    key = SIZE + h[9]
    headers = key + h[10]
    return Frame(h[0], h[1], h[2], h[4], h[5], h[6], h[7], h[8], data[SIZE:key], data[key:headers], data[headers:], payload)


class Reader:
    """Makes frames of the bytes of a stream, however they are cut."""

    def __init__(self):
        self._chunks, self._have, self._need = [], 0, SIZE

    def feed(self, chunk):
        """The frames that this chunk completes."""
        self._chunks.append(chunk)
        self._have += len(chunk)
        if self._have < self._need:
            return
        data, at = b"".join(self._chunks), 0
        self._chunks = []
        while True:
            f, at = parse(data, at)
            if f is None:
                break
            if at == len(data):
                data, at = b"", 0  # a large event is here once
            yield f
        self._chunks, self._have, self._need = [data[at:]], len(data) - at, need(data, at)


def pack_headers(headers):
    """The encoded form of a dict of headers."""
    parts = []
    for name, value in headers.items():
        name, value = name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
        if len(name) > 0xFFFF or len(value) > 0xFFFF:
            raise ValueError(f"header {name[:40]!r} is longer than 65535 bytes")
        parts += (_PAIR.pack(len(name), len(value)), name, value)
    return b"".join(parts)


def parse_headers(data):
    """The dict of encoded headers."""
    headers, at = {}, 0
    while at < len(data):
        if len(data) - at < 4:
            raise ValueError("frame: headers do not fit")
        n, v = _PAIR.unpack_from(data, at)
        name, value, at = at + 4, at + 4 + n, at + 4 + n + v
        if at > len(data):
            raise ValueError("frame: headers do not fit")
        headers[data[name:value].decode("utf-8", "surrogateescape")] = \
            data[value:at].decode("utf-8", "surrogateescape")
    return headers
