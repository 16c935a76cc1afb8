"""Gathers the counts and gives them in order: the most frequent first, equal ones by their bytes."""

class main:
    def __init__(self):
        self.counts = []

    def event(self, count):
        self.counts.append(count)

    def end(self):
        return sorted(self.counts, key=lambda c: (-c["count"], c["word"].encode("utf-8", "surrogateescape")))
