"""The golden frames of every SDK, and streams cut at every place."""

import json
import os
import unittest

from weft import frame

VECTORS = os.path.join(os.path.dirname(__file__), "../../../quicmesh/frame/testdata/vectors.json")
BYTES = ("id", "key", "headers", "payload")
NUMBERS = {"type": "type", "flags": "flags", "edge": "edge", "attempt": "attempt", "seq": "seq",
           "key_hash": "keyHash", "event_time": "eventTime", "sent": "sent"}


class Vectors(unittest.TestCase):
    def setUp(self):
        with open(VECTORS, encoding="utf-8") as f:
            self.vectors = json.load(f)

    def test_valid(self):
        for v in self.vectors["valid"]:
            with self.subTest(v["name"]):
                data = bytes.fromhex(v["hex"])
                want = frame.Frame(**{ours: int(v[theirs]) for ours, theirs in NUMBERS.items()},
                                   **{name: bytes.fromhex(v[name]) for name in BYTES})
                self.assertEqual(frame.parse(data), (want, len(data)))
                self.assertEqual(frame.need(data), len(data))
                self.assertEqual(frame.pack(want), data)
                headers = dict(v["headerList"])
                self.assertEqual(frame.parse_headers(want.headers), headers)
                if len(headers) == len(v["headerList"]):
                    self.assertEqual(frame.pack_headers(headers), want.headers)

    def test_invalid(self):
        for v in self.vectors["invalid"]:
            with self.subTest(v["name"]):
                data = bytes.fromhex(v["hex"])
                if v["error"] == "short":
                    self.assertEqual(frame.parse(data), (None, 0))
                else:
                    with self.assertRaises(ValueError):
                        frame.parse(data)
                    with self.assertRaises(ValueError):
                        list(frame.Reader().feed(data))

    def test_cut_at_every_place(self):
        stream = b"".join(bytes.fromhex(v["hex"]) for v in self.vectors["valid"])
        whole = list(frame.Reader().feed(stream))
        self.assertEqual(len(whole), len(self.vectors["valid"]))
        for at in range(len(stream)):
            reader = frame.Reader()
            self.assertEqual([*reader.feed(stream[:at]), *reader.feed(stream[at:])], whole)
        reader = frame.Reader()
        self.assertEqual([f for i in range(len(stream)) for f in reader.feed(stream[i:i + 1])], whole)


class Headers(unittest.TestCase):
    def test_broken(self):
        for data in (b"\1", b"\1\0\0\0", b"\1\0\1\0a"):
            with self.assertRaises(ValueError):
                frame.parse_headers(data)

    def test_too_long(self):
        with self.assertRaises(ValueError):
            frame.pack_headers({"a": "x" * 65536})


if __name__ == "__main__":
    unittest.main()
