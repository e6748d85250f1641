"""Fan-beam projector beside ASTRA, in one run: ``python -m benchmarks.fan``.

512 x 512 pixels, 360 views of 729 cells over a turn, float32, on the CPU. Calls take turns and the shortest of several
counts; compare ratios, not milliseconds. ASTRA's CPU projectors use one thread, ours all. ASTRA is left out where it is
not installed. Truth are the line integrals of a smooth blob, known in closed form.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.projector import (
    DETECTORS,
    ROUNDS,
    SIZE,
    VIEWS,
    Contender,
    astra_contender,
    phantom,
    print_table,
    shortest,
)
from recon.fbp import fbp
from recon.operators import FanBeam
from solvers.arrays import threads

GEOMETRY = {"source_distance": 1000.0, "detector_distance": 500.0}
CELL = 1.5  # the shadow of a pixel at the axis
SIGMA, PLACE = 20.0, (60.0, -90.0)
LIMITS = {"forward": 5.0, "adjoint": 5.0}  # times ASTRA's "line_fanflat", at least


def operator(detector: str = "flat") -> FanBeam:
    """The geometry that is timed."""
    cells: dict[str, Any] = {"detectors": DETECTORS, "detector_spacing": CELL, "detector": detector}
    return FanBeam((SIZE, SIZE), VIEWS, **GEOMETRY, **cells)


def ours(x: np.ndarray, detector: str) -> Contender:
    """This library."""
    A = operator(detector)
    y = A(x)
    return Contender(f"recon {detector}", lambda: A(x), lambda: A.adjoint(y))


def astra(x: np.ndarray, kind: str) -> Contender:
    """ASTRA's CPU projector of a flat detector."""
    import astra

    angles = operator().angles
    distances = GEOMETRY["source_distance"], GEOMETRY["detector_distance"]
    return astra_contender(x, astra.create_proj_geom("fanflat", CELL, DETECTORS, angles, *distances), kind)


def blob() -> np.ndarray:
    """A Gaussian on the pixels."""
    x = np.arange(SIZE) - 0.5 * (SIZE - 1)
    squares = (x - PLACE[0]) ** 2 + (-x[:, None] - PLACE[1]) ** 2
    return np.exp(-squares / (2 * SIGMA**2)).astype(np.float32)


def blob_integrals(A: FanBeam) -> np.ndarray:
    """Its integrals along all rays."""
    angle = A.angles[:, None]
    along = PLACE[0] * np.cos(angle) + PLACE[1] * np.sin(angle)
    depth = A.source_distance - PLACE[0] * np.sin(angle) + PLACE[1] * np.cos(angle)
    s = along * np.cos(A.fan_angles) - depth * np.sin(A.fan_angles)
    return math.sqrt(2 * math.pi) * SIGMA * np.exp(-(s**2) / (2 * SIGMA**2))


def errors() -> str:
    """How far each sinogram of the blob is from the truth."""
    A, x = operator(), blob()
    truth = blob_integrals(A)
    found = {"recon flat": A(x)}
    if importlib.util.find_spec("astra"):
        found |= {f"ASTRA {kind}": astra(x, kind).forward().copy() for kind in ("line_fanflat", "strip_fanflat")}
    shares = (f"{name} {np.linalg.norm(y - truth) / np.linalg.norm(truth):.1e}" for name, y in found.items())
    return "relative error of a blob's sinogram: " + ", ".join(shares)


def main() -> None:
    """Print the table."""
    x = phantom()
    rivals = [ours(x, "flat"), ours(x, "curved")]
    if importlib.util.find_spec("astra"):
        rivals += [astra(x, "line_fanflat"), astra(x, "strip_fanflat")]
    title = f"{SIZE} x {SIZE}, {VIEWS} views x {DETECTORS} cells, float32, {threads()} threads"
    print_table(title, rivals, "ASTRA line_fanflat", LIMITS)
    print(errors())
    A = operator()
    y = A(x)
    calls: dict[str, Callable[[], Any]] = {"filtered back-projection": lambda: fbp(y, A), "gram": lambda: A.gram(x)}
    for name, seconds in zip(calls, shortest([(call, ROUNDS) for call in calls.values()]), strict=True):
        print(f"recon flat, {name}: {1e3 * seconds:.1f} ms")


if __name__ == "__main__":
    main()
