"""Gathers the regions and gives them in order: the one that shook most first."""


class main:
    def __init__(self):
        self.regions = []

    def event(self, region):
        self.regions.append(region)

    def end(self):
        return sorted(self.regions, key=lambda r: (-r["energy"], r["region"]))
