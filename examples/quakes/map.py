"""Draws a map of the regions: map.py REGIONS.ndjson WORLD.json >MAP.svg

The world is TopoJSON: lines shared by countries, as differences of whole numbers.
"""
import json
import sys
from html import escape

WIDTH, HEIGHT = 960, 480
COARSE = 3  # pixels: points of coasts that are closer are left out


def project(lon, lat):
    return (lon + 180) / 360 * WIDTH, (90 - lat) / 180 * HEIGHT


def coast(arc, transform):
    (kx, ky), (x0, y0) = transform["scale"], transform["translate"]
    x = y = 0
    for dx, dy in arc:
        x, y = x + dx, y + dy
        yield project(x * kx + x0, y * ky + y0)


def path(points):
    """The SVG path through points; a line from edge to edge of the map is not drawn."""
    words, last, points = [], None, list(points)
    for i, (x, y) in enumerate(points, 1):
        if last and i < len(points) and abs(x - last[0]) < COARSE and abs(y - last[1]) < COARSE:
            continue
        words.append(f"{'L' if last and abs(x - last[0]) < WIDTH / 2 else 'M'}{x:.0f},{y:.0f}")
        last = x, y
    return "".join(words) if len(words) > 1 else ""


def circle(region):
    x, y = project(*region["at"])
    radius = 1.5 + region["quakes"] ** 0.5 / 2
    shade = min(max(region["strongest"], 0), 7) / 7
    words = f"{region['region']}: {region['quakes']} quakes, the strongest {region['strongest']}"
    return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="rgb(220,{200 - 180 * shade:.0f},30)" fill-opacity=".7">'
            f"<title>{escape(words)}</title></circle>")


def label(region):
    x, y = project(*region["at"])
    return f'<text x="{x + 8:.0f}" y="{y + 4:.0f}">{escape(region["region"])} {region["strongest"]}</text>'


def main(regions, world):
    with open(regions, encoding="utf-8") as f:
        regions = [json.loads(line) for line in f]
    with open(world, encoding="utf-8") as f:
        world = json.load(f)
    coasts = (path(coast(arc, world["transform"])) for arc in world["arcs"])
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#eef3f7"/>')
    print('<path fill="none" stroke="#9fb0bf" stroke-width=".7" d="' + "".join(coasts) + '"/>')
    print("\n".join(map(circle, regions)))
    print("\n".join(map(label, regions[:6])))
    print("</svg>")


main(*sys.argv[1:])
