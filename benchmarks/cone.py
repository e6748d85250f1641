"""Cone-beam projector beside the parallel one, in one run: ``python -m benchmarks.cone``.

128 x 128 x 128 voxels, 180 views of 192 x 192 cells over a turn, float32, on the CPU. The rate is that at which voxels
meet views; the parallel projector's is that of 512 x 512 pixels and 360 views of 729 cells. Calls take turns and the
shortest of several counts; compare ratios, not seconds. Truth are the line integrals of a smooth blob, known in closed
form; memory is what the arrays of one call take at the peak, its result included.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import projector
from benchmarks.projector import phantom, print_verdict, shortest
from recon import check_operator, fdk
from recon.operators import ConeBeam, ParallelBeam
from solvers.arrays import threads

SIZE, VIEWS, DETECTORS = 128, 180, (192, 192)
GEOMETRY = {"source_distance": 256.0, "detector_distance": 128.0}
REPEATS = 16  # calls of the parallel projector, to last about as long as one of the cone's
ROUNDS = 6
SIGMA, PLACE = 6.0, (14.0, -20.0, 11.0)
NEGLIGIBLE = 1e-20
LIMIT = 0.25  # of the parallel projector's rate, at least


def operator() -> ConeBeam:
    """The geometry that is timed: at the axis a cell is as large as a voxel."""
    return ConeBeam((SIZE, SIZE, SIZE), VIEWS, detectors=DETECTORS, **GEOMETRY)


def parallel() -> ParallelBeam:
    """The parallel projector that it is compared with."""
    return ParallelBeam((projector.SIZE, projector.SIZE), projector.VIEWS, detectors=projector.DETECTORS)


def blob() -> np.ndarray:
    """A Gaussian on the voxels."""
    axis = np.arange(SIZE) - 0.5 * (SIZE - 1)
    x, y, z = axis, -axis[:, None], axis[:, None, None]
    squares = (x - PLACE[0]) ** 2 + (y - PLACE[1]) ** 2 + (z - PLACE[2]) ** 2
    values = np.exp(-0.5 * squares / SIGMA**2)
    return np.where(values < NEGLIGIBLE, 0, values).astype(np.float32)  # smaller ones would be denormal, and slow


def integrals(A: ConeBeam) -> np.ndarray:
    """Integrals of the same Gaussian along the rays."""
    angle = A.angles[:, None, None]
    ahead, right = np.array([-np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    v, u = ((np.arange(n) - c) * s for n, c, s in zip(A.detectors, A.center, A.detector_spacing, strict=True))
    level = (A.source_distance + A.detector_distance) * ahead + u * right
    length = np.sqrt(level[0] ** 2 + level[1] ** 2 + v[:, None] ** 2)
    source = -A.source_distance * ahead - np.array(PLACE[:2]).reshape(2, 1, 1, 1)
    along = (source[0] * level[0] + source[1] * level[1] - PLACE[2] * v[:, None]) / length
    beside = source[0] ** 2 + source[1] ** 2 + PLACE[2] ** 2 - along**2
    return math.sqrt(2 * math.pi) * SIGMA * np.exp(-0.5 * beside / SIGMA**2)


def repeated(call: Callable[[Any], Any], given: np.ndarray) -> Callable[[], None]:
    """``call`` as often as REPEATS says."""

    def run() -> None:
        for _ in range(REPEATS):
            call(given)

    return run


def rates() -> list[tuple[str, float, float]]:
    """Direction, and voxel-views a second of the cone and of the parallel projector."""
    A, P = operator(), parallel()
    x, image = blob(), phantom()
    y, sinogram = A(x), P(image)
    calls = [lambda: A(x), repeated(P, image), lambda: A.adjoint(y), repeated(P.adjoint, sinogram)]
    seconds = shortest([(call, ROUNDS) for call in calls])
    cone, plane = x.size * VIEWS, REPEATS * image.size * projector.VIEWS
    both = seconds[0] + seconds[2], seconds[1] + seconds[3]
    return [
        ("forward", cone / seconds[0], plane / seconds[1]),
        ("adjoint", cone / seconds[2], plane / seconds[3]),
        ("both", 2 * cone / both[0], 2 * plane / both[1]),
    ]


def peak(call: Callable[[Any], Any], given: np.ndarray) -> int:
    """Bytes that one call takes, its result included."""
    tracemalloc.start()
    try:
        call(given)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Print the rates and the figures that go with them."""
    A = operator()
    x = blob()
    y = A(x)
    print(f"{SIZE}^3 voxels, {VIEWS} views of {DETECTORS[0]} x {DETECTORS[1]}, float32, {threads()} threads")
    print(f"{'10^9 voxel-views a second':28s} {'cone':>8s} {'parallel':>10s} {'ratio':>8s}")
    found = rates()
    for name, cone, plane in found:
        print(f"{name:28s} {cone / 1e9:8.2f} {plane / 1e9:10.2f} {cone / plane:8.2f}")
    _, cone, plane = found[-1]
    print_verdict("both, of the parallel projector's rate", cone / plane, LIMIT)
    exact = integrals(A)
    print(f"relative error of a smooth blob's integrals: {np.linalg.norm(y - exact) / np.linalg.norm(exact):.1e}")
    larger = max(x.nbytes, y.nbytes)
    there, back = peak(A, x) / larger, peak(A.adjoint, y) / larger
    print(f"peak memory over the larger side: forward {there:.1f}, adjoint {back:.1f}")
    (seconds,) = shortest([(lambda: fdk(y, A), 2)])
    print(f"filtered back-projection (fdk): {seconds:.2f} s")
    print(check_operator(ConeBeam((24, 32, 30), 20, **GEOMETRY)))


if __name__ == "__main__":
    main()
