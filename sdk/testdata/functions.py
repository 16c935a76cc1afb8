"""One function for each thing that the tests look at; functions/main.go has the same in Go."""

import asyncio
import os
import sys
from datetime import datetime, timezone

import weft


def echo(event):
    return event


def split(event):
    for word in event["line"].split():
        yield {"word": word}


class count:
    def __init__(self):
        self.n = 0

    def event(self, e):
        self.n += 1

    def end(self):
        return {"count": self.n}


class Tally:
    """An instance, not a class: each attempt has a copy."""

    def __init__(self):
        self.seen = []

    async def event(self, e):
        self.seen.append(e)

    async def end(self):
        yield {"count": len(self.seen)}


tally = Tally()


def fail(event):
    yield event
    if event["line"] == "error":
        raise ValueError("no good")
    if event["line"] == "panic":
        raise RuntimeError("panic: no good")


def printing(event):
    print("out", event["line"])
    print("err", event["line"], file=sys.stderr)
    return event


def die(event):
    if event["line"] == "die":
        os._exit(3)
    return event


class badstart:
    def __init__(self, ctx):
        ctx.emit({})

    def event(self, e):
        pass


class badend:
    def event(self, e):
        pass

    def end(self):
        raise ValueError("the end is bad")


def facts(event, ctx):
    time = ctx.event_time
    ctx.emit({
        "id": ctx.id, "key": ctx.key, "headers": ctx.headers, "time": round(time.timestamp() * 1e6),
        "stage": ctx.stage, "slot": ctx.slot, "replicas": ctx.replicas, "factor": ctx.parameters["factor"],
    })
    ctx.emit({}, to="late", key="k2", headers={"traceparent": "00-2"},
             event_time=datetime.fromtimestamp(7.000001, timezone.utc))


def reverse(events):
    return events[::-1]


def null(event):
    return None


def scalar(event):
    return 1


async def gather(event):
    """Events wait for each other: it works only if they are in work at the same time."""
    waiting.append(asyncio.get_running_loop().create_future())
    if len(waiting) == 3:
        for future in waiting:
            future.set_result(None)
    await waiting[-1]
    return event


waiting = []


@weft.function(concurrency=1)
async def asplit(event):
    for word in event["line"].split():
        yield {"word": word}


async def forever(event):
    await asyncio.get_running_loop().create_future()


def gate(event):
    """Blocks until the test has seen the first output."""
    if event.get("gate"):
        with open(event["gate"]) as f:
            f.read()
    return event


async def agate(event):
    """Blocks as well: there is no await in it."""
    return gate(event)
