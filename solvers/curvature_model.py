"""A quadratic model of least squares that costs no operator call: a convolution, exact along the directions measured.

    H = P - P D (D^T P D)^-1 D^T P + G D (D^T G D)^-1 D^T G,      G = A^H A

P is a periodic convolution, D are directions whose images G D are known. ``H D = G D``, and H is positive definite
where P is. It is the block BFGS update of P (Schnabel 1983), and its inverse next to another convolution is that of
a convolution and a small matrix (Woodbury).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

RIDGE = 1e-6  # of the small matrices, relative to their mean diagonal: directions may be nearly dependent


@dataclass(frozen=True, slots=True)
class CurvatureModel:
    """``H``; images may have leading batch axes, which make one block-diagonal system."""

    spectrum: Array  # eigenvalues of P at the frequencies in use
    ndim: int  # axes of an image
    D: Array | None = None  # directions, stacked along a first axis
    PD: Array | None = None  # P D
    GD: Array | None = None  # G D

    def learned(self, d: Array, Gd: Array, memory: int) -> CurvatureModel:
        """The model with one more direction, the oldest ones forgotten beyond ``memory``."""
        curvature = arrays.to_float(arrays.dot(d, Gd))
        if not curvature > 0 or memory == 0:
            return self
        scale = curvature**-0.5
        new = (scale * d, self._convolved(scale * d), scale * Gd)
        D, PD, GD = (_appended(old, a, memory) for old, a in zip((self.D, self.PD, self.GD), new, strict=True))
        return replace(self, D=D, PD=PD, GD=GD)

    def item(self, item: int) -> CurvatureModel:
        """That of one image of a batch: images of directions are images of their parts."""
        if self.D is None or self.PD is None or self.GD is None:
            return self
        return replace(self, D=self.D[:, item], PD=self.PD[:, item], GD=self.GD[:, item])

    def __call__(self, v: Array) -> Array:
        """``H v``."""
        out = self._convolved(v)
        if self.D is None:
            return out
        P, G = self._small()
        xp = arrays.namespace(v)
        down = xp.linalg.solve(P, _products(self.PD, v))
        up = xp.linalg.solve(G, _products(self.GD, v))
        return out - _combined(down, self.PD) + _combined(up, self.GD)

    def inverse(self, reciprocal: Array) -> Callable[[Array], Array]:
        """``r -> (H + Q)^-1 r`` for a convolution Q, given the reciprocal spectrum of ``P + Q``."""

        def convolved(r: Array) -> Array:
            return filtered(r, reciprocal, self.ndim)

        if self.D is None or self.PD is None or self.GD is None:
            return convolved
        xp = arrays.namespace(self.D)
        P, G = self._small()
        W = xp.concatenate([self.PD, self.GD])
        MW = convolved(W)
        small = _products(W, MW)
        m = len(self.D)
        small[:m, :m] -= P
        small[m:, m:] += G

        def solved(r: Array) -> Array:
            u = convolved(r)
            return u - _combined(xp.linalg.solve(small, _products(W, u)), MW)

        return solved

    def _convolved(self, v: Array) -> Array:
        return filtered(v, self.spectrum, self.ndim)

    def _small(self) -> tuple[Any, Any]:
        """``D^T P D`` and ``D^T G D``."""
        found = []
        for image in (self.PD, self.GD):
            matrix = _products(self.D, image)
            matrix = 0.5 * (matrix + matrix.T)
            diagonal = arrays.namespace(matrix).diagonal(matrix)
            found.append(matrix + arrays.namespace(matrix).diag(RIDGE * diagonal.mean() + 0 * diagonal))
        return found[0], found[1]


def impulse_response(operator: Any, like: Array) -> np.ndarray:
    """``A^H A`` of an impulse at an image's centre, that moved to the origin, in the mean of frames: one product."""
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


def descended(
    gram: Callable[[Array], Array], back: Array, x: Array, model: CurvatureModel, steps: int, memory: int
) -> tuple[Array, Array, CurvatureModel]:
    """Conjugate gradients on ``A^H A x = back``, each direction measured; the image, ``A^H A`` of it and the model.

    A start of zeros costs no product.
    """
    Gx = arrays.zeros(x.shape, x)
    if arrays.to_float(arrays.norm(x)) > 0:
        Gx = gram(x)
        model = model.learned(x, Gx, memory)
    r, p, before = back - Gx, None, 0.0
    for _ in range(steps):
        size = arrays.dot(r, r)
        p = r if p is None else arrays.axpy(size / before, p, r)
        before, Gp = size, gram(p)
        curvature = arrays.dot(p, Gp)
        if not arrays.to_float(curvature) > 0:
            break
        model = model.learned(p, Gp, memory)
        alpha = size / curvature
        x, Gx, r = arrays.axpy(alpha, p, x), arrays.axpy(alpha, Gp, Gx), arrays.axpy(-alpha, Gp, r)
    return x, Gx, model


def filtered(v: Array, spectrum: Array, ndim: int) -> Array:
    """A convolution of the trailing axes, its spectrum halved where ``v`` is real."""
    axes = tuple(range(-ndim, 0))
    if arrays.is_complex(v):
        return arrays.fftn(arrays.fftn(v, axes) * spectrum, axes, inverse=True)
    return arrays.irfftn(arrays.rfftn(v, axes) * spectrum, tuple(v.shape[-ndim:]), axes)


def _appended(stack: Array | None, a: Array, memory: int) -> Array:
    if stack is None:
        return a[None]
    return arrays.namespace(a).concatenate([stack[1:] if len(stack) >= memory else stack, a[None]])


def _flat(x: Array, rows: int) -> Array:
    """Real numbers of each of the stacked images."""
    if arrays.is_complex(x):
        x = arrays.namespace(x).stack([x.real, x.imag], -1) if arrays.is_torch(x) else x.view(x.real.dtype)
    return x.reshape(rows, -1)


def _products(stack: Any, x: Array) -> Any:
    """Real inner products of stacked images with an image, or with each of a stack, in double precision."""
    rows = _flat(stack, len(stack))
    if x.ndim == stack.ndim:
        found = rows @ _flat(x, len(x)).T
    else:
        found = rows @ _flat(x, 1)[0]
    return found.double() if arrays.is_torch(found) else found.astype(float)


def _combined(coefficients: Any, stack: Any) -> Array:
    """The linear combination of stacked images."""
    xp = arrays.namespace(stack)
    weights = coefficients.to(stack.dtype) if arrays.is_torch(stack) else coefficients.astype(stack.real.dtype)
    return xp.tensordot(weights, stack, 1)
