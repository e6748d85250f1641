"""The steps of :class:`solvers.ADMM` on one large image, each overwriting the last: in as few arrays as we know.

The image and ``b = sum_i rho_i K_i^H (z_i - u_i)`` take turns in two buffers, each of which also holds half the
spectrum of an image; a splitting keeps ``q_i = z_i + u_i`` only, and everything else is done a block at a time. For
total variation of a volume that makes five volumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from solvers import arrays
from solvers._splits import correction, imbalance_of
from solvers.arrays import Array

BLOCK = 2**16  # pixels treated at a time
DAMPING = 1e-2  # of the first guess, over the largest eigenvalue of the normal operator
FILL_WIDTH = 1.0  # of the local averages, in pixels, that stand for what was not measured at first


class Buffer:
    """Room for a real image and for half its spectrum, not both at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        halved = (*shape[:-1], shape[-1] // 2 + 1)
        store = np.empty(2 * math.prod(halved), dtype)
        self.image = store[: math.prod(shape)].reshape(shape)
        self.spectrum = store.view(np.result_type(dtype, np.complex64)).reshape(halved)


@dataclass(frozen=True, slots=True)
class OverwrittenState:
    """State of ADMM whose arrays the next step overwrites."""

    buffer: Buffer  # holds the image
    q: tuple[np.ndarray, ...]  # split variables plus scaled dual variables
    rho: tuple[float, ...]  # penalties

    @property
    def x(self) -> np.ndarray:
        """The image."""
        return self.buffer.image


@dataclass(frozen=True, eq=False)
class FusedPart:
    """A splitting whose function updates its variables by itself, in place: total variation and the like."""

    function: Any
    operator: Any
    tunable = True

    def first(self, x: np.ndarray) -> np.ndarray:
        """q at the start ``x``."""
        return self.operator(x)

    def move(self, x: np.ndarray, q: np.ndarray, step: float, rho: float, relax: float, b: np.ndarray) -> Any:
        """Overwrite ``q`` with the next one and ``b`` with ``rho K^H (z - u)``; the squares of the residuals."""
        squares = self.function.split_step_in_place(x, q, step, relax, b)
        b *= rho
        return squares

    def value(self, x: np.ndarray) -> float:
        """The function at ``K x``."""
        gradient = replace(self.operator, periodic=False)  # what wraps around does not count
        function, total = replace(self.function, operator=gradient), 0.0
        for block in blocks(x.shape):
            differences = gradient(x[block.start : block.stop + 1])
            total += function.value(differences[:, : block.stop - block.start])
        return total

    def rescale(self, q: np.ndarray, step: float, factor: float) -> None:
        """Divide the scaled dual variable by ``factor``."""
        self.function.rescale_in_place(q, step, factor)

    def eigenvalues(self, block: slice, shape: tuple[int, ...]) -> Any:
        """Of ``K^H K``, over a block of the half spectrum."""
        first, *others = self.operator.fourier_axes(shape)
        kept = shape[-1] // 2 + 1
        return sum((axis[..., :kept] for axis in others), first[block])


@dataclass(frozen=True, eq=False)
class PixelPart:
    """A splitting of the image itself, with a function that takes each pixel alone: bounds, or what a mask measured."""

    prox: Any  # (v, step, block) -> z
    tunable: bool

    def first(self, x: np.ndarray) -> np.ndarray:
        """q at the start ``x``."""
        return x.copy()

    def move(self, x: np.ndarray, q: np.ndarray, step: float, rho: float, relax: float, b: np.ndarray) -> Any:
        """As of :class:`FusedPart`, but ``b`` is added to."""
        squares = np.zeros(4)
        for block in blocks(x.shape):
            before = q[block]
            z = self.prox(before, step, block)
            after = before + relax * (x[block] - z)
            shrunk = self.prox(after, step, block)
            b[block] += rho * (2.0 * shrunk - after)
            differences = (x[block] - shrunk, shrunk - z, shrunk, after - shrunk)
            squares += [arrays.dot(d, d) for d in differences]
            q[block] = after
        return squares

    def rescale(self, q: np.ndarray, step: float, factor: float) -> None:
        """Divide the scaled dual variable by ``factor``."""
        for block in blocks(q.shape):
            z = self.prox(q[block], step, block)
            q[block] = z + (q[block] - z) / factor

    def eigenvalues(self, block: slice, shape: tuple[int, ...]) -> float:
        """Of the identity."""
        return 1.0


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis."""
    rows = max(1, BLOCK // math.prod(shape[1:]))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)


def measures_pixels(operator: Any) -> bool:
    """Whether an operator measures pixels as they are, all or some."""
    return bool(getattr(operator, "pointwise", False) and getattr(operator, "selects", False))


def supported(data: Any, prior: Any, like: Array) -> bool:
    """Whether there are steps in place for a problem on images such as ``like``."""
    operator = data.operator
    if not (isinstance(like, np.ndarray) and like.dtype.kind == "f" and data.quadratic):
        return False
    terms = prior.terms()
    fused = [term for term in terms if hasattr(term.function, "split_step_in_place")]
    if len(fused) != 1 or fused[0].function.image_ndim - 1 != like.ndim or like.shape != tuple(operator.in_shape):
        return False
    bounds = all(t in fused or (t.operator is None and _is_numeric_bound(t.function)) for t in terms)
    return bounds and (measures_pixels(operator) or operator.fourier_gram() is not None)


def _is_numeric_bound(function: Any) -> bool:
    limits: Any = getattr(function, "bounds", ([],))
    return all(np.ndim(limit) == 0 for limit in limits)


class InPlace:
    """The problem taken apart; nothing here depends on the strength."""

    def __init__(self, data: Any, prior: Any):
        self.data, self.operator = data, data.operator
        self.shape = tuple(self.operator.in_shape)
        sampling = self.operator.sampling if measures_pixels(self.operator) else None
        self.sampling: Any = None if sampling is None else np.broadcast_to(sampling, self.shape)
        fused = [FusedPart(t.function, t.operator) for t in prior.terms() if t.operator is not None]
        bounds = [PixelPart(_without_block(t.function.prox), False) for t in prior.terms() if t.operator is None]
        measured = []
        if self.sampling is not None:
            measured.append(PixelPart(_measured_prox(data.y, self.sampling), False))
        self.parts: tuple[Any, ...] = (*fused, *bounds, *measured)  # the fused one first: it overwrites b

    @cached_property
    def back(self) -> np.ndarray:
        """``A^H y``, or without a copy what it holds where it was measured."""
        return self.data.y if measures_pixels(self.operator) else self.operator.adjoint(self.data.y)

    @cached_property
    def gram(self) -> Any:
        """Eigenvalues of ``A^H A`` over the half spectrum; 0 where the data are split, 1 for all pixels."""
        if measures_pixels(self.operator):
            return 0.0 if self.sampling is not None else 1.0
        gram = self.operator.fourier_gram()
        half = gram[..., : self.shape[-1] // 2 + 1]
        # An operator that keeps them needs no other copy.
        return half if gram is self.operator.fourier_gram() else half.astype(self.data.y.real.dtype)

    def curvature(self) -> float:
        """Typical eigenvalue of ``A^H A``."""
        y, back = self.data.y, self.back
        energy = arrays.dot(y, y)
        return max(arrays.dot(back, back) / energy, 1e-30) if energy > 0 else 1.0

    def guess(self) -> Buffer:
        """A first image: measured pixels and averages of those around, or a damped inverse."""
        buffer = Buffer(self.shape, self.data.y.dtype)
        if self.sampling is not None:
            _fill(buffer.image, self.data.y, self.sampling)
        elif isinstance(self.gram, float):
            buffer.image[...] = self.back
        else:
            buffer.image[...] = self.back
            largest = float(self.gram.max())
            damping = max(DAMPING * largest, 1e-30)
            buffer = self._divided(buffer, Buffer(self.shape, self.data.y.dtype), lambda block: damping)[0]
        return buffer

    def start(self, buffer: Buffer, rho: tuple[float, ...]) -> OverwrittenState:
        """The state of an image in a buffer."""
        return OverwrittenState(buffer, tuple(part.first(buffer.image) for part in self.parts), rho)

    def steps(self, state: OverwrittenState, strength: float, relaxation: float, balance_at: Any) -> Iterator[Any]:
        """The states that follow; each is valid until the next."""
        if self.sampling is None:
            self.back, self.gram  # noqa: B018 - before there is another buffer
        x, b = state.buffer, Buffer(self.shape, state.x.dtype)
        q, rho = state.q, state.rho
        del state
        self._move(x, b, q, rho, strength, 0.0)
        for k in count():
            x, b = self._solved(x, b, rho)
            squares = self._move(x, b, q, rho, strength, relaxation)
            if k + 1 in balance_at:
                rho = self._balanced(x, b, q, rho, squares, strength)
            yield OverwrittenState(x, q, rho)

    def penalty(self, x: np.ndarray) -> float:
        """The prior without its constraints."""
        return float(sum(part.value(x) for part in self.parts if part.tunable))

    def _step_of(self, part: Any, rho: float, strength: float) -> float:
        return (strength if part.tunable else 1.0) / rho

    def _move(self, x: Buffer, b: Buffer, q: Any, rho: Any, strength: float, relaxation: float) -> list[Any]:
        """All splittings; without relaxation they stay as they are, and only ``b`` is computed."""
        return [
            part.move(x.image, qi, self._step_of(part, r, strength), r, relaxation, b.image)
            for part, qi, r in zip(self.parts, q, rho, strict=True)
        ]

    def _balanced(self, x: Buffer, b: Buffer, q: Any, rho: Any, squares: Any, strength: float) -> tuple[float, ...]:
        factors = [correction(imbalance_of(*map(float, s))) for s in squares]
        if all(f == 1.0 for f in factors):
            return rho
        for part, qi, r, f in zip(self.parts, q, rho, factors, strict=True):
            if f != 1.0:
                part.rescale(qi, self._step_of(part, r, strength), f)
        rho = tuple(r * f for r, f in zip(rho, factors, strict=True))
        self._move(x, b, q, rho, strength, 0.0)
        return rho

    def _solved(self, x: Buffer, b: Buffer, rho: tuple[float, ...]) -> tuple[Buffer, Buffer]:
        """The image update, from ``b`` in the buffer of ``b``, that of ``x`` being overwritten: the new x, and room."""
        if self.sampling is None:
            b.image += self.back
        return self._divided(
            b, x, lambda block: sum(r * p.eigenvalues(block, self.shape) for r, p in zip(rho, self.parts, strict=True))
        )

    def _divided(self, image: Buffer, room: Buffer, penalty: Any) -> tuple[Buffer, Buffer]:
        """``image`` over the eigenvalues of ``A^H A`` plus those of the penalty, in place; and the room it took."""
        import scipy.fft

        axes, workers = tuple(range(len(self.shape) - 1)), arrays.threads()
        spectrum = half_spectrum(image.image, room.spectrum)
        for block in blocks(self.shape):
            total = penalty(block) + (self.gram if isinstance(self.gram, float) else self.gram[block])
            spectrum[block] /= np.maximum(total, 1e-30).astype(spectrum.real.dtype)
        spectrum = scipy.fft.ifftn(spectrum, axes=axes, overwrite_x=True, workers=workers)
        for block in blocks(self.shape):
            image.image[block] = scipy.fft.irfft(spectrum[block], n=self.shape[-1], axis=-1, workers=workers)
        return image, room


def _without_block(prox: Any) -> Any:
    return lambda v, step, block: prox(v, step)


def _measured_prox(y: np.ndarray, sampling: np.ndarray) -> Any:
    """Proximal map of the data term of pixels that were measured."""

    def prox(v: np.ndarray, step: float, block: slice) -> np.ndarray:
        return v + np.where(sampling[block], (y[block] - v) * (step / (1.0 + step)), 0)

    return prox


def half_spectrum(image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Half the spectrum of a real image of any dtype, with nothing of its size beside ``out``."""
    import scipy.fft

    workers = arrays.threads()
    if out is None:
        out = Buffer(image.shape, np.result_type(image.dtype, np.float32)).spectrum
    for block in blocks(image.shape):
        out[block] = scipy.fft.rfft(image[block].astype(out.real.dtype, copy=False), axis=-1, workers=workers)
    return scipy.fft.fftn(out, axes=tuple(range(image.ndim - 1)), overwrite_x=True, workers=workers)


def _fill(out: np.ndarray, y: np.ndarray, seen: np.ndarray) -> None:
    """Write what was measured, and elsewhere the average of what was measured around."""
    from scipy.ndimage import gaussian_filter

    width = FILL_WIDTH * max(float(seen.mean()), 1e-6) ** (-1 / seen.ndim)
    weight = gaussian_filter(seen.astype(out.dtype), width, mode="nearest")
    gaussian_filter(np.where(seen, y, 0), width, mode="nearest", output=out)
    mean = float(np.mean(y, where=seen))
    for block in blocks(out.shape):
        near = np.where(weight[block] > 1e-3, out[block] / np.maximum(weight[block], 1e-3), mean)
        out[block] = np.where(seen[block], y[block], near)
