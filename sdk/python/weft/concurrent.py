"""The stream of an async function: many events are in work at the same time."""

import asyncio
import contextlib
import inspect
import json
import socket

from . import frame
from .context import Context, Stage
from .function import outputs, payload_of
from .outlet import Gone, Outlet
from .stream import READ_SIZE, no_emit


async def run(sock, function):
    """Serves the proxy until it closes the socket. An error of the start or the end is raised."""
    stream = Stream(Outlet(sock), function)
    reader = frame.Reader()
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                chunk = sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if not chunk:
                return
            for f in reader.feed(chunk):
                await stream.take(f)
    finally:
        loop.remove_reader(sock)
        await stream.cancel()


async def collect(result, emit):
    """Emits what an event made, in whatever way the function gives it."""
    if inspect.isasyncgen(result) or hasattr(result, "__anext__"):
        async for out in result:
            emit(out)
        return
    if inspect.isawaitable(result):
        result = await result
    for out in outputs(result):
        emit(out)


class Stream:
    """One attempt after the other, on one socket; in each, tasks."""

    def __init__(self, outlet, function):
        self.outlet, self.function = outlet, function
        self.stage = self.handler = None
        # The proxy bounds the events in work, so each has a task at once, and a Start is never
        # behind a queue; the function's own bound is what the tasks wait for.
        self.tasks = set()
        self.slots = None
        self.flushing = False

    async def take(self, f):
        if f.type == frame.DATA:
            task = asyncio.ensure_future(self.event(f, self.handler))
            self.tasks.add(task)
            task.add_done_callback(self.over)
        elif f.type == frame.START:
            await self.start(f)
        elif f.type == frame.END:
            await self.end()

    async def start(self, f):
        await self.cancel()
        self.outlet.begin(f.attempt)
        self.slots = asyncio.Semaphore(self.function.concurrency)
        self.stage = Stage(json.loads(f.payload))
        self.handler = self.function.begin(Context(self.stage, frame.Frame(f.type), no_emit))
        self.outlet.tell(frame.READY)
        self.outlet.idle()

    async def event(self, f, handler):
        made = []  # sent together when the event is done: others are in work at the same time
        context = Context(self.stage, f, lambda value, *rest: made.append((payload_of(value), *rest)))
        async with self.slots:
            error = None
            try:
                await collect(handler.event(handler.decode(f.payload), context), lambda out: made.append((payload_of(out),)))
            except Exception as e:
                error = e
        with contextlib.suppress(Gone):  # run is about to see it, too
            self.send(f.seq, made, error)

    def send(self, seq, made, error):
        self.outlet.mark()
        try:
            if error:
                raise error
            for output in made:
                self.outlet.data(seq, *output)
        except Exception as e:
            self.outlet.fail(seq, e)
        self.outlet.finished_one(seq)
        if not self.flushing:
            self.flushing = True
            asyncio.get_running_loop().call_soon(self.drained)

    def drained(self):
        """Runs after the events that were ready at the same time."""
        self.flushing = False
        with contextlib.suppress(Gone):
            self.outlet.idle()

    def over(self, task):
        self.tasks.discard(task)

    async def end(self):
        await asyncio.gather(*self.tasks)
        context = Context(self.stage, frame.Frame(frame.END), lambda *output: self.outlet.data(0, *output))
        await collect(self.handler.end(context), lambda out: self.outlet.data(0, out))
        self.outlet.tell(frame.END)
        self.outlet.flush()

    async def cancel(self):
        """Ends the tasks of an attempt that is over."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
