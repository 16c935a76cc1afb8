"""The first stage: it makes the load's event of each that the generator sends, and stamps it last."""

import os
import time


class main:
    def __init__(self):
        self.rate = float(os.environ["RATE"])
        self.pad = "x" * max(0, int(os.environ["SIZE"]) - 64)
        self.began = self.n = 0

    def event(self, _):
        due = time.monotonic_ns()
        self.began = self.began or due
        if self.rate:
            due = self.began + int(self.n / self.rate * 1e9)
        self.n += 1
        return {"w": [due, time.monotonic_ns(), self.n - 1], "p": self.pad}
