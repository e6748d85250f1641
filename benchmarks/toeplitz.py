"""Normal operators of parallel beams as convolutions: ``python -m benchmarks.toeplitz``.

In the plane, back-projecting all projections convolves with ``views / (pi |r|)``. ``FourierSlice``, of band-limited
images, has exactly such a normal operator on pixels. ``ParallelBeam`` has one only as far as shifting the image by
whole pixels shifts what every ray reads, which interpolation between pixels and cells breaks: its kernel here is the
mean response to some pixels about the middle. Errors are those of a smooth and of a random image, times those of the
smooth one, beside back-projecting the projections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.fft

from benchmarks.projector import phantom, shortest
from recon.operators import FourierSlice, ParallelBeam
from solvers.arrays import threads

SIZES = ((256, 180), (512, 360))
ROUNDS = 7
PLACES = 12  # pixels whose responses are averaged, and how far they are from the middle at the most
LIMIT = 1e-5  # of the relative error, to stand in for the normal operator


def kernel(A: ParallelBeam) -> np.ndarray:
    """Mean response to a pixel of an image twice as large, from which all lags can be read."""
    rows, columns = (2 * n for n in A.in_shape)
    wide = ParallelBeam((rows, columns), A.angles)
    total = np.zeros((rows, columns), np.float32)
    for i, j in np.random.default_rng(0).integers(-PLACES, PLACES + 1, (PLACES, 2)):
        pixel = np.zeros((rows, columns), np.float32)
        pixel[rows // 2 + i, columns // 2 + j] = 1
        total += np.roll(wide.gram(pixel), (-i, -j), (0, 1)) / PLACES
    return np.fft.ifftshift(total)


def convolved(x: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Two transforms on the doubled grid."""
    shape, workers = tuple(2 * n for n in x.shape), threads()
    transformed = scipy.fft.rfft2(x, shape, workers=workers)
    transformed *= spectrum
    return scipy.fft.irfft2(transformed, shape, workers=workers, overwrite_x=True)[: x.shape[0], : x.shape[1]]


def main() -> None:
    """Print error and time for each size."""
    print(f"normal operators of parallel beams as convolutions, float32, {threads()} threads")
    titles = ("error", 9), ("random", 9), ("(limit)", 9), ("ms", 7), ("projections, ms", 16), ("times", 6)
    print(f"{'operator':>14s} {'pixels':>12s} {'views':>6s}", *(f"{title:>{width}s}" for title, width in titles))
    for n, views in SIZES:
        scan = ParallelBeam((n, n), views)
        spectrum = scipy.fft.rfft2(kernel(scan))
        report("ParallelBeam", scan, partial(convolved, spectrum=spectrum))
        A = FourierSlice(scan)
        report("FourierSlice", A, A.gram)


def report(name: str, A: Any, convolution: Callable[[np.ndarray], np.ndarray]) -> None:
    """One line of the table: the convolution beside the adjoint of the forward."""
    n, views = A.in_shape[0], A.out_shape[0]
    x, noise = phantom(n), np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    errors = [error(A, image, convolution) for image in (x, noise)]
    fast, slow = shortest([(call, ROUNDS) for call in (partial(convolution, x), lambda: A.adjoint(A(x)))])
    print(
        f"{name:>14s} {f'{n} x {n}':>12s} {views:6d} {errors[0]:9.1e} {errors[1]:9.1e} {LIMIT:9.0e} "
        f"{1e3 * fast:7.1f} {1e3 * slow:16.1f} {slow / fast:6.1f}"
    )


def error(A: Any, x: np.ndarray, convolution: Callable[[np.ndarray], np.ndarray]) -> float:
    """Relative, of the convolution."""
    exact = A.adjoint(A(x))
    return float(np.linalg.norm(convolution(x) - exact) / np.linalg.norm(exact))


if __name__ == "__main__":
    main()
