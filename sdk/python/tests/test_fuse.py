"""Fused stages beyond what the tests of whole pipelines show."""

import json
import unittest

from weft import frame
from weft.context import Context, Stage
from weft.fuse import Fused

START = {"pipeline": "p", "stage": "a", "slot": 1, "replicas": 2, "fused": [
    {"stage": "a", "parameters": {}, "edges": {"side": 3}}, {"stage": "b", "parameters": {"x": 1}, "edges": {}}]}


class Groups(unittest.TestCase):
    def run_two(self, first, second, *values):
        put = []
        links = Fused([("a", first), ("b", second)]).chain(START, lambda *f: put.append(f))
        for value in values:
            links[0].event(value, frame.Frame(frame.DATA, id=b"in:0", headers=b"", event_time=7))
        return put, links

    def test_frames(self):
        def first(event, ctx):
            ctx.emit({"to": "all"}, key="k")
            ctx.emit({"to": "side"}, to="side")
            ctx.emit({"to": "b"}, to="b", headers={"h": "v"})

        def second(event, ctx):
            self.assertEqual((ctx.stage, ctx.slot, ctx.parameters), ("b", 1, {"x": 1}))
            if event["to"] == "b":
                raise ValueError("x" * 100_000)
            return event

        put, links = self.run_two(first, second, {})
        kinds = [(f[0], f[1], f[2]) for f in put]
        self.assertEqual(kinds, [(frame.DATA, 65535, b"in:0/0"), (frame.DATA, 65534, b"in:0/0/0"),
                                 (frame.DATA, 3, b"in:0/1"), (frame.FAILED, 1, b"in:0/2")])
        failed = put[-1]
        self.assertEqual(json.loads(failed[6]), {"to": "b"})
        self.assertLess(len(failed[3]), 65536)
        self.assertEqual([(x.took, x.inside) for x in links], [(0, 1), (2, 0)])

    def test_an_error_drops_all(self):
        seen = []

        def first(event):
            yield {"n": 1}
            raise ValueError("no")

        with self.assertRaises(ValueError):
            self.run_two(first, seen.append, {})
        self.assertEqual(seen, [])

    def test_values_are_what_json_makes_of_them(self):
        seen = []
        self.run_two(lambda e: {"t": (1, 2), 3: "x"}, lambda e: seen.append(e), {})
        self.assertEqual(seen, [{"t": [1, 2], "3": "x"}])

    def test_activation(self):
        handler = Fused([("a", lambda e: [e, e]), ("b", lambda e: {"n": e["n"] + 1})]).begin(Context(Stage(), frame.Frame(1), None))
        self.assertEqual(list(handler.activate({"n": 1}, None)), [{"n": 2}, {"n": 2}])

    def test_refused(self):
        async def main(event):
            return event

        with self.assertRaisesRegex(TypeError, "stage b is async"):
            Fused([("a", dict), ("b", main)])
        with self.assertRaisesRegex(ValueError, "serves 1 stages, and Start names 2"):
            Fused([("a", dict)]).chain(START, None)
