"""The shapes in which users write functions."""

import sys
import unittest
from dataclasses import dataclass, field
from typing import List, Optional, TypedDict

import weft
from weft import frame
from weft.context import Context, Stage
from weft.function import Function, encode, outputs


@dataclass
class Part:
    name: str


@dataclass
class Order:
    id: int
    part: Optional[Part] = None
    parts: List[Part] = field(default_factory=list)


class Word(TypedDict):
    word: str


def run(target, *values, end=False):
    """What a function makes of values, and of the end."""
    made = []
    context = Context(Stage({"parameters": {"x": 2}}), frame.Frame(1, key=b"k"), lambda value, *_: made.append(value))
    handler = Function(target).begin(context)
    for value in values:
        made.extend(outputs(handler.event(value, context)))
    if end:
        made.extend(outputs(handler.end(context)))
    return made


class Shapes(unittest.TestCase):
    def test_results(self):
        self.assertEqual(run(lambda e: e, {"a": 1}), [{"a": 1}])
        self.assertEqual(run(lambda e: None, {}), [])
        self.assertEqual(run(lambda e: [e, e], {"a": 1}), [{"a": 1}] * 2)
        self.assertEqual(run(lambda e: (o for o in [e]), {"a": 1}), [{"a": 1}])
        self.assertEqual(run(lambda e: iter([e]), {"a": 1}), [{"a": 1}])
        for wrong in ("text", 1, True, {1, 2}):
            with self.assertRaises(TypeError):
                run(lambda e: wrong, {})

    def test_context(self):
        def main(event, ctx):
            ctx.emit({"key": ctx.key, "x": ctx.parameters["x"], "time": ctx.event_time, "headers": ctx.headers})

        self.assertEqual(run(main, {}), [{"key": "k", "x": 2, "time": None, "headers": {}}])

    def test_a_default_is_not_ours(self):
        def main(event, times=2):
            return [event] * times

        self.assertEqual(run(main, {}), [{}, {}])

    def test_class(self):
        class Sum:
            def __init__(self, ctx):
                self.n = ctx.parameters["x"]

            def event(self, e):
                self.n += e["n"]

            def end(self):
                return {"n": self.n}

        self.assertEqual(run(Sum, {"n": 1}, {"n": 2}, end=True), [{"n": 5}])

    def test_decorated(self):
        @weft.function
        class Last:
            def event(self, e: Word):
                self.last = e

            def end(self, ctx):
                yield {**self.last, "key": ctx.key}

        self.assertEqual(run(Last, {"word": "a"}, end=True), [{"word": "a", "key": "k"}])

        @weft.function(concurrency=3)
        def main(e):
            return e

        self.assertEqual(Function(main).concurrency, 3)

    def test_callable_object(self):
        class Add:
            def __call__(self, e):
                return {"n": e["n"] + 1}

        self.assertEqual(run(Add(), {"n": 1}), [{"n": 2}])

    def test_no_function(self):
        with self.assertRaises(TypeError):
            Function({"main": 1})


class Annotations(unittest.TestCase):
    def test_dataclass(self):
        def main(order: Order):
            self.assertIsInstance(order, Order)
            return order

        got = run(main, {"id": 1, "part": {"name": "a"}, "parts": [{"name": "b"}], "new": "is passed over"})
        self.assertEqual(got, [Order(1, Part("a"), [Part("b")])])
        self.assertEqual(encode(got[0]), '{"id":1,"part":{"name":"a"},"parts":[{"name":"b"}]}')
        self.assertEqual(run(main, {"id": 1, "part": None}), [Order(1)])
        with self.assertRaises(TypeError):
            run(main, {})

    def test_method(self):
        class Gather:
            def event(self, e: Part):
                return e

        self.assertEqual(run(Gather, {"name": "a"}), [Part("a")])

    @unittest.skipIf(sys.version_info < (3, 10), "X | None came with Python 3.10")
    def test_union(self):
        namespace = {"Part": Part}
        exec("def main(e: Part | None): return e", namespace)
        self.assertEqual(run(namespace["main"], {"name": "a"}), [Part("a")])

    def test_a_value_as_annotation(self):
        def main(event: {"text": str}):
            return event

        self.assertEqual(run(main, {"text": "a"}), [{"text": "a"}])

    def test_unknown_names(self):
        def main(e: "Nowhere"):  # noqa: F821
            return e

        self.assertEqual(run(main, {}), [{}])


class Encoding(unittest.TestCase):
    def test_lone_surrogates_stay(self):
        self.assertEqual(encode({"a": "\udcff\u00e9"}), '{"a":"\\udcff\\u00e9"}')

    def test_refused(self):
        for wrong in ({"a": float("nan")}, {"a": {1}}, {"a": b""}):
            with self.assertRaises((TypeError, ValueError)):
                encode(wrong)


if __name__ == "__main__":
    unittest.main()
