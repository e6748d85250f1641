"""Schedules of plug-and-play on training images: ``python -m benchmarks.schedules_training --data FOLDER ...``.

The table of ``python -m benchmarks.schedules closed`` by which structure and constants are chosen, so that test images
give final figures alone: six problems of each family on patches of the folders, each restored with the schedule trained
without the family (``--schedules``). For the oracle stands the best, by the truth, of fourteen classical runs. Their
PSNR takes minutes; with ``--references FILE`` it is kept, and found there again by name: delete the file when denoiser
or folders change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.schedules import FIRST, HELD_OUT, SIZE, SIZES, Best, Problem, compare, measured
from recon.learn.images import Collection, Source, collect
from recon.learn.problems import FAMILIES

SEED = 99
RUNS = ((4, 1.0), (4, 0.25), (12, 1.0), (12, 0.25), (24, 1.0), (24, 0.25), (50, 0.25))
"""Steps and factors of the weight of the classical runs, from either start."""
LIGHT = 1 / 16
"""Further factor that is tried where pixels are missing: there the weight matters little, and may be small."""


def problems(family: str, images: Collection, count: int) -> list[Problem]:
    """Seeded problems of one family on random patches."""
    found, number = [], list(FAMILIES).index(family)
    size = SIZES.get(family, SIZE)
    for i in range(count):
        rng = np.random.default_rng((SEED, number, i))
        patch = images.patches(rng, 1, size)[0, 0]
        operator, sigma = FAMILIES[family](rng, size)
        truth = np.ascontiguousarray((patch - patch.min())[tuple(map(slice, operator.in_shape))])
        found.append(measured(f"{family} {i}", truth, operator, sigma, seed=i))
    return found


def reference(problem: Problem, kept: Path | None) -> Best:
    """The best of some classical runs: that of the file, or found anew and kept there."""
    known = json.loads(kept.read_text()) if kept and kept.exists() else {}
    if problem.name not in known:
        known[problem.name] = max(_runs(problem))
        if kept:
            kept.write_text(json.dumps(known, indent=1))
    psnr, length, factor, start = known[problem.name]
    return psnr, length, factor, start


def _runs(problem: Problem) -> Iterator[Best]:
    factors = (1.0, LIGHT) if problem.name.startswith("inpainting") else (1.0,)
    for length, weight in RUNS:
        for factor in (weight * further for further in factors):
            yield problem.psnr(problem.classical(factor, length), problem.guess), length, factor, "guess"
            from_tv = problem.classical(factor, length, FIRST)
            yield problem.psnr(from_tv, problem.start), length, factor, "TV"


def main(arguments: Sequence[str] | None = None) -> None:
    """Families, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="all by default")
    parser.add_argument("--data", action="append", required=True, help="folder of training images, or folder:weight")
    parser.add_argument("--schedules", type=Path, default=HELD_OUT, help="folder that train-steps wrote")
    parser.add_argument("--references", type=Path, help="file that keeps the PSNR of the classical runs")
    parser.add_argument("--count", type=int, default=6, help="problems of a family")
    given = parser.parse_args(arguments)
    for name in given.families:
        if name not in FAMILIES:
            sys.exit(f"family is {name!r}; expected some of {', '.join(FAMILIES)}. Pass one of them.")
    images = collect([Source.parse(text) for text in given.data], 1, SIZES["superresolution"], 0)
    drawn = partial(problems, images=images, count=given.count)
    compare(given.families or list(FAMILIES), drawn, partial(reference, kept=given.references), given.schedules)


if __name__ == "__main__":
    main()
