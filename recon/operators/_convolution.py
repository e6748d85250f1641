"""Convolution as a sum over the entries of the point spread function, for the ones where that beats transforms.

Images come extended beyond their borders (:mod:`recon.operators._borders`); only the part of the convolution that
needs nothing beyond is computed.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, Literal, NamedTuple

import numpy as np

from solvers.errors import ArgumentError
from solvers.kernels import block_of, run_jobs

Method = Literal["auto", "fft", "direct", "separable"]
METHODS = ("auto", "fft", "direct", "separable")


class Taps(NamedTuple):
    """Entries of a point spread function that are not zero, in the order in which the image is read."""

    offsets: np.ndarray
    """(taps, 3) into the extended image: depth, row, column."""
    double: np.ndarray
    single: np.ndarray
    """Weights in both precisions."""

    @classmethod
    def of(cls, psf: np.ndarray) -> Taps:
        """Taps of a PSF with up to three axes, filled up with weights of zero to whole groups."""
        # A convolution reads the image backwards.
        mirrored = np.flip(psf).reshape((1,) * (3 - psf.ndim) + psf.shape)
        offsets = np.argwhere(mirrored)
        weights = mirrored[tuple(offsets.T)]
        fill = -len(offsets) % 4
        # In rows, whatever their number: kernels are compiled once for each layout.
        offsets = np.ascontiguousarray(np.concatenate([offsets, np.zeros((fill, 3), offsets.dtype)]))
        weights = np.concatenate([weights, np.zeros(fill)])
        return cls(offsets, weights, weights.astype(np.float32))

    def for_columns(self, step: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Offsets where a column takes ``step`` numbers, and weights of ``dtype``."""
        return self.offsets * np.array([1, 1, step]), self.double if dtype == np.float64 else self.single


class Direct:
    """Sum over the entries of a PSF of one to three axes; ``valid`` of the PSF, ``mirrored_valid`` of its mirror."""

    def __init__(self, psf: np.ndarray):
        self.support = psf.shape
        self._taps, self._mirrored = Taps.of(psf), Taps.of(np.flip(psf))

    def valid(self, images: np.ndarray) -> np.ndarray:
        """Convolution of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._taps)

    def mirrored_valid(self, images: np.ndarray) -> np.ndarray:
        """Correlation of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._mirrored)

    def _run(self, images: np.ndarray, taps: Taps) -> np.ndarray:
        from recon.operators._convolution_kernels import direct_job

        numbers, step, shape = _as_volumes(images, self.support)
        out = np.empty(shape, numbers.dtype)
        _launch(direct_job, out, len(taps.offsets), numbers, *taps.for_columns(step, numbers.dtype), out)
        return _as_images(out, images, self.support)


class Separable:
    """Convolution along one axis after the other; as :class:`Direct`, for the outer product of ``profiles``."""

    def __init__(self, profiles: list[np.ndarray]):
        self.support = tuple(len(profile) for profile in profiles)
        ndim = len(profiles)
        along = [np.reshape(p, [-1 if a == b else 1 for b in range(ndim)]) for a, p in enumerate(profiles)]
        self._depth = Direct(along[0]) if ndim == 3 else None
        self._taps = [Taps.of(p) for p in along[-2:]]
        self._mirrored = [Taps.of(np.flip(p)) for p in along[-2:]]

    def valid(self, images: np.ndarray) -> np.ndarray:
        """Convolution of extended images, (..., *n + k - 1) -> (..., *n)."""
        if self._depth is not None:
            images = self._depth.valid(images)  # frees the ones given
        return self._run(images, self._taps)

    def mirrored_valid(self, images: np.ndarray) -> np.ndarray:
        """Correlation of extended images, (..., *n + k - 1) -> (..., *n)."""
        if self._depth is not None:
            images = self._depth.mirrored_valid(images)
        return self._run(images, self._mirrored)

    def _run(self, images: np.ndarray, taps: list[Taps]) -> np.ndarray:
        from recon.operators._convolution_kernels import separable_job

        support = self.support if self._depth is None else (1, *self.support[1:])
        numbers, step, shape = _as_volumes(images, support)
        out = np.empty(shape, numbers.dtype)
        down, along = (t.for_columns(step, numbers.dtype) for t in taps)
        _launch(separable_job, out, len(down[1]) + len(along[1]), numbers, *down, *along, out)
        return _as_images(out, images, support)


def _as_volumes(images: np.ndarray, support: tuple[int, ...]) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """Images as real (batch, depth, rows, columns), the numbers to a column, and the shape of the valid part."""
    ndim = len(support)
    images = np.ascontiguousarray(images)
    # A real PSF acts alike on the two parts of a complex number, which stand side by side.
    step = 2 if np.iscomplexobj(images) else 1
    numbers = images.view(images.real.dtype).reshape(
        (-1, *(1,) * (3 - ndim), *images.shape[-ndim:-1], images.shape[-1] * step)
    )
    widths = (*(1,) * (3 - ndim), *support)
    valid = [n - (k - 1) * s for n, k, s in zip(numbers.shape[1:], widths, (1, 1, step), strict=True)]
    return numbers, step, (len(numbers), *valid)


def _as_images(out: np.ndarray, like: np.ndarray, support: tuple[int, ...]) -> np.ndarray:
    ndim = len(support)
    shape = [n - k + 1 for n, k in zip(like.shape[-ndim:], support, strict=True)]
    return out.view(like.dtype).reshape(*like.shape[:-ndim], *shape)


def _launch(job: Any, out: np.ndarray, taps: int, *args: Any) -> None:
    rows = math.prod(out.shape[:3])
    block = block_of(rows)
    run_jobs(job, out.size * taps // 4, -(-rows // block), block, *args)


def convolution_for(
    psf: np.ndarray, shape: tuple[int, ...], method: Method
) -> tuple[Direct | Separable | None, Method]:
    """What sums over the entries of a PSF, None for transforms; and the name of the method taken."""
    if method == "fft" or (method == "auto" and not _sum_may_pay(psf, shape)):
        return None, "fft"
    if psf.ndim > 3:
        raise ArgumentError(
            f"method is {method!r} and the psf has {psf.ndim} axes; expected up to three. Pass method='fft'."
        )
    profiles = rank_one(psf) if method in ("auto", "separable") and psf.ndim > 1 else None
    if method == "separable" and profiles is None:
        raise ArgumentError(
            "method is 'separable' and the psf is not the outer product of its profiles (in double precision); "
            "expected one that is, such as a Gaussian along the axes. Pass method='auto'."
        )
    if method == "auto":
        method = _quickest(psf, shape, profiles)
    return (None if method == "fft" else Direct(psf) if method == "direct" else Separable(profiles or [])), method


SMALLEST = 2**16
"""Pixels below which ``auto`` takes transforms: calls are then too short for the difference to matter."""


def _sum_may_pay(psf: np.ndarray, shape: tuple[int, ...]) -> bool:
    return 1 < psf.ndim <= 3 and math.prod(shape) >= SMALLEST


def _quickest(psf: np.ndarray, shape: tuple[int, ...], profiles: list[np.ndarray] | None) -> Method:
    """The method of least cost, in units of one tap at one pixel (0.05 ns on two cores).

    Fitted to timings of images of 256 to 2048 pixels a side and of volumes: entering a row costs what 100 of its pixels
    do, and extending the image 12 taps, or 40 with the additional pass of a volume.
    """
    tap = 1.0 + 100.0 / shape[-1]
    costs: dict[Method, float] = {
        "fft": 6.0 * math.log2(math.prod(shape)) - 36.0,
        "direct": 12.0 + tap * float(np.count_nonzero(psf)),
    }
    if profiles is not None:
        costs["separable"] = (40.0 if len(shape) == 3 else 12.0) + tap * float(sum(psf.shape))
    return min(costs, key=lambda name: costs[name])


def rank_one(psf: np.ndarray) -> list[np.ndarray] | None:
    """The profiles whose outer product is ``psf`` to rounding, or None."""
    pivot = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(psf)), psf.shape))
    peak = float(psf[pivot])
    # A tensor of rank one is the product of its fibres through any entry that is not zero.
    profiles = [np.moveaxis(psf, a, -1)[(*pivot[:a], *pivot[a + 1 :])] / peak for a in range(psf.ndim)]
    outer = peak * reduce(np.multiply.outer, profiles)
    if np.abs(outer - psf).max() > 8 * np.finfo(np.float64).eps * abs(peak):
        return None
    return [peak * profiles[0], *profiles[1:]]
