"""A quadratic model of least squares that costs no operator call: a convolution, exact along the directions measured.

    H = P - P D (D^T P D)^-1 D^T P + G D (D^T G D)^-1 D^T G,      G = A^H A

P is a periodic convolution, D are directions whose images G D are known. ``H D = G D``, and H is positive definite
where P is. It is the block BFGS update of P (Schnabel 1983), and its inverse next to another convolution is that of
a convolution and a small matrix (Woodbury).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

Pair = tuple[Array, Array]
"""An image and ``A^H A`` of it."""
SMOOTH = 1.0  # frequencies over which spectra are averaged, a standard deviation
RIDGE = 1e-6  # of the small matrices, relative to their mean diagonal: directions may be nearly dependent


@dataclass(frozen=True, slots=True)
class CurvatureModel:
    """``H``; images may have leading batch axes, which make one block-diagonal system."""

    spectrum: Array  # eigenvalues of P at the frequencies in use
    ndim: int  # axes of an image
    W: tuple[Array, ...] = ()  # P d and G d of each direction in turn: an array each, none of which is ever copied
    P: Any = None  # D^T P D
    G: Any = None  # D^T G D
    count: int = 0  # directions measured so far, those forgotten included

    def learned(self, d: Array, Gd: Array, memory: int) -> CurvatureModel:
        """The model with one more direction, the oldest ones forgotten beyond ``memory``."""
        curvature = arrays.to_float(arrays.dot(d, Gd))
        if not curvature > 0:
            return self
        scale = curvature**-0.5
        d = scale * d
        W = (*self.W, self._convolved(d), scale * Gd)[-2 * memory :]
        products = _products(W, d)
        P, G = (_bordered(old, products[i::2], memory) for i, old in enumerate((self.P, self.G)))
        return replace(self, W=W, P=P, G=G, count=self.count + 1)

    def learned_all(self, pairs: Sequence[Pair], memory: int) -> CurvatureModel:
        """The model with several more, one after the other."""
        return reduce(lambda model, pair: model.learned(*pair, memory), pairs, self)

    def item(self, item: int) -> CurvatureModel:
        """That of one image of a batch, afresh: what was measured was measured of all of them."""
        return CurvatureModel(self.spectrum, self.ndim)

    def __call__(self, v: Array) -> Array:
        """``H v``."""
        out = self._convolved(v)
        if not self.W:
            return out
        xp, products = arrays.namespace(self.P), _products(self.W, v)
        down, up = (xp.linalg.solve(_ridged(m), products[i::2]) for i, m in enumerate((self.P, self.G)))
        return added(out, xp.stack([-down, up], 1).reshape(-1), self.W)

    def inverse(self, reciprocal: Array, before: ModelInverse | None = None) -> ModelInverse:
        """``(H + Q)^-1`` for a convolution Q, given the reciprocal spectrum of ``P + Q``.

        It follows quickly from that of this model without its last direction, next to the same Q: ``before``, or not.
        """
        if not self.W:
            return ModelInverse(self, reciprocal)
        follows = before is not None and before.reciprocal is reciprocal and before.model.count + 1 == self.count
        known = before.MW[2 - len(self.W) :] if follows and len(self.W) > 2 else ()  # type: ignore[union-attr]
        new = tuple(filtered(w, reciprocal, self.ndim) for w in self.W[len(known) :])
        border = arrays.namespace(self.P).stack([_products(self.W, row) for row in new], 1)
        small = _bordered(before.small if known else None, border, len(self.W) // 2)  # type: ignore[union-attr]
        return self._inverse(reciprocal, (*known, *new), small)

    def _inverse(self, reciprocal: Array, MW: tuple[Array, ...], small: Any) -> ModelInverse:
        P, G = _ridged(self.P), _ridged(self.G)
        xp = arrays.namespace(P)
        system = small + xp.kron(-P, _corner(P, 0)) + xp.kron(G, _corner(P, 1))
        return ModelInverse(self, reciprocal, MW, small, system)

    def _convolved(self, v: Array) -> Array:
        return filtered(v, self.spectrum, self.ndim)


@dataclass(frozen=True, slots=True)
class ModelInverse:
    """``r -> (H + Q)^-1 r`` for a convolution Q, by the matrix inversion lemma."""

    model: CurvatureModel
    reciprocal: Array  # spectrum of (P + Q)^-1
    MW: tuple[Array, ...] = ()  # (P + Q)^-1 W
    small: Any = None  # W^T (P + Q)^-1 W
    system: Any = None  # the same plus the inverse of what W is weighted with in H

    def __call__(self, r: Array) -> Array:
        u = filtered(r, self.reciprocal, self.model.ndim)
        if not self.MW:
            return u
        coefficients = arrays.namespace(self.system).linalg.solve(self.system, _products(self.model.W, u))
        return added(u, -coefficients, self.MW)


def impulse_response(operator: Any, like: Array) -> np.ndarray:
    """``A^H A`` of an impulse at an image's centre, that moved to the origin, in the mean of frames.

    One product, or none where the operator knows it.
    """
    known = getattr(operator, "impulse_response", lambda: None)()
    if known is not None:
        return known.astype(arrays.to_numpy(like).dtype, copy=False)
    shape, frames = tuple(operator.in_shape), getattr(operator, "frames", False)
    centre = tuple(n // 2 for n in shape[frames:])
    impulse = np.zeros(shape, dtype=arrays.to_numpy(like).dtype)
    impulse[(..., *centre)] = 1.0  # frames are not measured together: one product answers for each of them
    response = arrays.to_numpy(operator.gram(arrays.to_device_of(impulse, like)))
    response = response.mean(axis=0) if frames else response
    return np.roll(response, tuple(-c for c in centre), axis=tuple(range(len(centre))))


def floored_spectrum(response: np.ndarray, floor: float, shape: tuple[int, ...]) -> np.ndarray:
    """Eigenvalues of the convolution with a response, at least ``floor`` times the largest, for images of a shape."""
    spectrum = np.fft.fftn(response).real
    return np.broadcast_to(np.maximum(spectrum, min(floor, 1.0) * spectrum.max()), shape)


def measured_spectrum(operator: Any, pairs: Sequence[Pair], floor: float) -> Array:
    """The same of the convolution that takes images to what ``A^H A`` made of them: no product is needed.

    Ratios of cross spectra to spectra over neighbouring frequencies, of differences between pixels, whose spectra are
    flat enough for a window to keep the borders out. Each pair has curvature, ``<d, A^H A d> > 0``.
    """
    shape = tuple(operator.in_shape)[getattr(operator, "frames", False) :]
    axes = tuple(range(-len(shape), 0))
    # Windows: one over the image, and one over the distances in it, which is an average over the frequencies.
    edges, near = (
        arrays.asarray(reduce(np.multiply.outer, [profile(n) for n in shape]), pairs[0][0])
        for profile in (lambda n: np.sin(np.pi * (np.arange(n) + 0.5) / n), _nearby)
    )
    crossed = power = 0.0
    for d, Gd in pairs:
        xp, curvature = arrays.namespace(d), arrays.dot(d, Gd)
        for axis in axes:
            a, b = (arrays.fftn(edges * (v - xp.roll(v, 1, axis)), axes).reshape(-1, *shape) for v in (d, Gd))
            crossed = crossed + (a.conj() * b).real.sum(0) / curvature
            power = power + (a.conj() * a).real.sum(0) / curvature
    smoothed = [arrays.fftn(near * arrays.fftn(s, axes, inverse=True), axes).real for s in (crossed, power)]
    spectrum = smoothed[0] / (smoothed[1] + arrays.eps(smoothed[1]) * smoothed[1].max())
    xp = arrays.namespace(spectrum)
    return xp.broadcast_to(xp.maximum(spectrum, min(floor, 1.0) * spectrum.max()), tuple(operator.in_shape))


def _nearby(n: int) -> np.ndarray:
    """What a Gaussian average over frequencies multiplies the distances 0, 1, ..., -1 with."""
    return np.exp(-2 * (np.pi * SMOOTH * np.fft.fftfreq(n)) ** 2)


def descended(
    gram: Callable[[Array], Array], back: Array, x: Array, steps: int
) -> tuple[Array, Array, tuple[Pair, ...]]:
    """Conjugate gradients on ``A^H A x = back``: the image, ``A^H A`` of it, and all that was measured.

    A start of zeros costs no product.
    """
    Gx, pairs = arrays.zeros(x.shape, x), ()  # type: tuple[Array, tuple[Pair, ...]]
    if arrays.to_float(arrays.norm(x)) > 0:
        Gx = gram(x)
        pairs = ((x, Gx),)
    r, p, before = back - Gx, None, 0.0
    for _ in range(steps):
        size = arrays.dot(r, r)
        p = r if p is None else arrays.axpy(size / before, p, r)
        before, Gp = size, gram(p)
        curvature = arrays.dot(p, Gp)
        if not arrays.to_float(curvature) > 0:
            break
        pairs = (*pairs, (p, Gp))
        alpha = size / curvature
        x, Gx, r = arrays.axpy(alpha, p, x), arrays.axpy(alpha, Gp, Gx), arrays.axpy(-alpha, Gp, r)
    return x, Gx, pairs


def filtered(v: Array, spectrum: Array, ndim: int) -> Array:
    """A convolution of the trailing axes, its spectrum halved where ``v`` is real."""
    axes = tuple(range(-ndim, 0))
    if arrays.is_complex(v):
        return arrays.fftn(arrays.fftn(v, axes) * spectrum, axes, inverse=True)
    return arrays.irfftn(arrays.rfftn(v, axes) * spectrum, tuple(v.shape[-ndim:]), axes)


def _bordered(matrix: Any, border: Any, memory: int) -> Any:
    """A symmetric matrix with a new last row and column, or as many as ``border`` has columns."""
    xp = arrays.namespace(border)
    border = border.reshape(len(border), -1)
    width = border.shape[1]
    if matrix is None:
        return border
    kept = matrix[width:, width:] if len(matrix) >= memory * width else matrix
    upper = xp.concatenate([kept, border[:-width]], 1)
    return xp.concatenate([upper, border.T], 0)


def _ridged(matrix: Any) -> Any:
    """Plus a ridge: directions may be nearly dependent."""
    xp = arrays.namespace(matrix)
    return matrix + RIDGE * xp.diagonal(matrix).mean() * _identity(matrix)


def _identity(matrix: Any) -> Any:
    xp = arrays.namespace(matrix)
    return (
        xp.eye(len(matrix), dtype=matrix.dtype)
        if not arrays.is_torch(matrix)
        else xp.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    )


def _corner(like: Any, i: int) -> Any:
    """The 2 x 2 matrix with a one at ``(i, i)``."""
    corner = np.zeros((2, 2))
    corner[i, i] = 1.0
    return arrays.asarray(corner, like)


def _products(stack: Sequence[Array], x: Array) -> Any:
    """Real inner products of each of several images with one, in double precision."""
    # One after the other: a matrix product wakes threads, which on few processors takes longer than all the sums.
    found = [arrays.dot(row, x) for row in stack]
    return arrays.namespace(x).stack(found).double() if arrays.is_torch(x) else np.array(found)


def added(x: Array, coefficients: Any, stack: Sequence[Array]) -> Array:
    """``x`` plus a linear combination of several images."""
    if arrays.is_torch(x):
        return sum((c * row for c, row in zip(coefficients.to(x.dtype), stack, strict=True)), x)
    out, part = x.copy(), np.empty_like(x)
    for c, row in zip(coefficients.tolist(), stack, strict=True):
        out += np.multiply(row, c, out=part)
    return out
