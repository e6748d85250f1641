"""Convolution beside scipy: ``python -m benchmarks.convolution``.

1024 x 1024 pixels, a PSF of 31 x 31, float32, on the CPU. Calls take turns and the shortest of several counts, so that
a busy machine slows everybody alike; compare ratios, not milliseconds. scipy transforms the PSF at every call and on
one thread, ours keeps its spectrum. The second table is what ``method="auto"`` is fitted to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.signal

from benchmarks.projector import print_verdict, shortest
from recon import psf as psfs
from recon.operators import Blur
from recon.operators._blur_bodies import BOUNDARIES
from recon.operators._convolution import METHODS
from solvers.arrays import threads

SIZE, SUPPORT = 1024, 31
ROUNDS = 30
LIMIT = 3.0  # times scipy.signal.fftconvolve, at least, whatever the PSF

PSFS = {
    "random entries": lambda: np.random.default_rng(0).random((SUPPORT, SUPPORT)),
    "Gaussian": lambda: psfs.gaussian(4.0, size=SUPPORT),
    "motion": lambda: psfs.motion(28, degrees=30, size=SUPPORT),
}


def beside_scipy(x: np.ndarray) -> None:
    """Forward and adjoint of each PSF and boundary, and how many times scipy takes."""
    headings = ("forward", "adjoint", "fftconvolve", "times")
    ratios = []
    print(f"{'psf':16s} {'boundary':12s} {'method':10s}", *(f"{heading:>11s}" for heading in headings))
    for (name, make), boundary in itertools.product(PSFS.items(), BOUNDARIES):
        A = Blur(make(), x.shape, boundary=boundary)
        image, single = np.resize(x, A.in_shape), A.psf.astype(x.dtype)
        calls: list[Callable[[], Any]] = [
            partial(A, image),
            partial(A.adjoint, x),
            partial(scipy.signal.fftconvolve, x, single, mode="same"),
        ]
        times = [1e3 * s for s in shortest([(call, ROUNDS) for call in calls])]
        print(
            f"{name:16s} {boundary:12s} {A.method:10s}",
            *(f"{t:8.2f} ms" for t in times),
            f"{times[2] / times[0]:11.1f}",
        )
        ratios.append((times[2] / times[0], f"{name}, {boundary}"))
    worst, where = min(ratios)
    print_verdict(f"times fftconvolve, least ({where})", worst, LIMIT)


def methods() -> None:
    """Milliseconds of each method by sizes, and the one that is chosen."""
    names = [name for name in METHODS if name != "auto"]
    print(f"\n{'image':>12s} {'psf':>9s}", *(f"{name:>10s}" for name in names), "  auto takes, of the sum of two such")
    for n, k in ((256, 3), (256, 7), (256, 15), (512, 7), (512, 15), (1024, 3), (1024, 9), (1024, 15), (1024, 31)):
        psf = psfs.gaussian(k / 6, size=k)
        x = np.random.default_rng(0).random((n, n), dtype=np.float32)
        operators = [Blur(psf, (n, n), method=method) for method in names]
        times = [1e3 * s for s in shortest([(lambda A=A, x=x: A(x), 5) for A in operators])]
        chosen = [Blur(kernel, (n, n)).method for kernel in (psf, psf + psfs.gaussian(k / 9, size=k))]
        print(f"{n:>5d} x {n:4d} {k:>3d} x {k:3d}", *(f"{time:10.2f}" for time in times), f"  {', '.join(chosen)}")


def main() -> None:
    """Print the tables."""
    print(f"{SIZE} x {SIZE}, psf {SUPPORT} x {SUPPORT}, float32, {threads()} threads")
    beside_scipy(np.random.default_rng(1).random((SIZE, SIZE), dtype=np.float32))
    methods()


if __name__ == "__main__":
    main()
