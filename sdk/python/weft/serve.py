"""The process: ordinary activations line by line, and the stream that one line may ask for."""

import asyncio
import json
import os
import socket
import sys

from . import concurrent, frame, mesh, stream
from .context import Context, Stage
from .function import Function, encode, encode_list, outputs, text_of
from .outlet import Gone, failure, report

ACK = {"ok": True, "abi": "weft.stream/1"}


def serve(main):
    """Serves the action proxy with this function until it closes standard input."""
    run(Function(main))


def run(function):
    """serve, of a Function."""
    lines = _take_stdin()
    for name in ("stdout", "stderr"):  # a log is never a reason to fail, and is there when we die
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    loop = asyncio.new_event_loop() if function.is_async else None
    action = Action(function, loop)
    core = None if loop else mesh.load()  # the events of a mesh are handled one after the other
    _answer((json.dumps({**ACK, "mesh": mesh.ABI} if core else ACK, separators=(",", ":")) + "\n").encode())
    for line in lines:
        message = json.loads(line)
        to = message.get("weft") or {}
        if "socket" in to and to.get("mesh"):
            mesh.run(core, to["socket"], function)
        elif "socket" in to:
            _stream(to["socket"], function, loop)
        else:
            _answer(action.run(message))


def _take_stdin():
    """Keeps standard input to ourselves: a function that reads it gets nothing, rather than events."""
    try:
        os.set_inheritable(3, False)
    except OSError:
        sys.exit("weft: file descriptor 3 isn't open; this program is started by an action proxy")
    lines = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return lines


def _answer(line):
    while line:
        line = line[os.write(3, line):]


def _stream(path, function, loop):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        try:
            if loop:
                loop.run_until_complete(concurrent.run(sock, function))
            else:
                stream.run(sock, function)
        except (Gone, ConnectionResetError):
            pass  # the proxy doesn't want more


class Action:
    """Ordinary activations: no stream and no end. Like globals, one handler's state stays for the next."""

    def __init__(self, function, loop):
        self.function, self.loop, self.handler = function, loop, None

    def run(self, message):
        """One answer: a returned list as it is; of other outputs none is {}, one is that object, several
        are an array."""
        for name, value in message.items():
            if name != "value" and isinstance(value, str):
                os.environ["__OW_" + name.upper()] = value
        made = []
        try:
            value = message.get("value")
            whole = self._run({} if value is None else value, made)
            texts = [text_of(value) for value in made]
            if whole is not None:
                texts = [encode_list(whole)]
        except Exception as e:
            report(e)
            texts = [encode(failure(e))]
        sys.stdout.flush()
        sys.stderr.flush()
        answer = texts[0] if len(texts) == 1 else "[" + ",".join(texts) + "]" if texts else "{}"
        return answer.encode("ascii") + b"\n"

    def _run(self, value, made):
        context = Context(Stage(), frame.Frame(frame.DATA), lambda value, *_: made.append(value))
        if self.handler is None:
            self.handler = self.function.begin(context)
        result = self.handler.activate(value, context)
        if self.loop:
            self.loop.run_until_complete(concurrent.collect(result, made.append))
        elif isinstance(result, (list, tuple)) and not made:
            return result
        else:
            made.extend(outputs(result))
        return None
