"""``tools/bench``: runs every benchmark and prints what it measured."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import boots
import launch
import listing
import logins
import memory
import networking
import volumes
import wires
from cloud import Bench


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="launches, and floors, to measure")
    options = parser.parse_args()
    bench = Bench()
    figures = []
    for measure in (
        memory.measure,
        networking.measure,
        wires.measure,
        logins.measure,
        listing.measure,
        volumes.measure,
        boots.measure,
        lambda b: launch.measure(b, options.runs),
    ):
        for figure in measure(bench):
            print(json.dumps(figure), flush=True)
            figures.append(figure)
    width = max(len(figure["name"]) for figure in figures)
    print()
    for figure in figures:
        aim = f"   aim: {figure['aim']}" if figure.get("aim") else ""
        print(f"{figure['name']:<{width}}  {figure['value']:>9} {figure['unit']:<10}{aim}")


if __name__ == "__main__":
    main()
