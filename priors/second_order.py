"""The operator of total generalised variation, in the form that splitting solvers take.

    g(x) = min_w  sum_i |(D x - w)_i| + ratio * sum_i |(E w)_i|

is ``min_w psi(B x - W w)`` with the stacked ``B x = (D x, 0)``, ``W w = (w, -s E w)`` and ``psi(z) = |z_1| +
(ratio / s) |z_2|``. A splitting solver has ``z = B x - W w`` and finds x and w together. The least squares problem for
w,

    w = (I + s^2 E^H E)^-1 W^H (B x - a),        a = z - u,

has a closed form in Fourier, so w is eliminated and what is left for x is the operator ``K = P B``, P being the
orthogonal projection that takes out the range of W. With S of :mod:`priors.symmetrised` and ``F = 1 / (1 + s^2 S)``,

    K x = (D (x - F x), s E D F x),      K^H K = s^2 S^2 / (1 + s^2 S),      (I + s^2 E^H E)^-1 D = D F.

Bredies, Kunisch and Pock 2010; the splitting: Boyd et al. 2011, section 3.4.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.differences import Gradient, gradient, gradient_adjoint
from priors.symmetrised import symmetrised, symmetrised_adjoint
from solvers import arrays
from solvers.arrays import Array

SCALE = 2.0  # s: second differences are the smaller ones, so their penalty is larger


@dataclass(frozen=True)
class SecondOrder:
    """``K``: what is left of the slopes of an image beside the slopes ``w`` that fit them best, and their changes.

    Parameters
    ----------
    ndim : int
        Number of trailing spatial axes.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels.
    scale : float
        ``s``.
    """

    ndim: int = 2
    spacing: Any = None
    scale: float = SCALE

    def __call__(self, x: Array) -> Array:
        smooth = self._smoothed(x)
        slopes = gradient(smooth, self.ndim, self.spacing, periodic=True)
        rest = gradient(x - smooth, self.ndim, self.spacing, periodic=True)
        bends = symmetrised(slopes, self.scales) * self.scale
        return arrays.namespace(x).concatenate((rest, bends), -self.ndim - 1)

    def adjoint(self, z: Array) -> Array:
        """``K^H z``."""
        return self._back(z, self.residual_adjoint(z))

    def residual_adjoint(self, z: Array) -> Array:
        """``W^H z = z_1 - s E^H z_2``."""
        first, second = self.parts(z)
        return first - symmetrised_adjoint(second, self.scales) * self.scale

    def best_slopes(self, h: Array) -> Array:
        """``(I + s^2 E^H E)^-1 h``: filters of each component, and of the divergence."""
        S = self.laplacian(tuple(h.shape))
        a, b = 1 / (1 + 0.5 * self.scale**2 * S), 0.5 * self.scale**2 / (1 + self.scale**2 * S)
        out = arrays.filter_fourier(h, a, self.ndim)
        divergence = arrays.filter_fourier(self._divergence(h), a * b, self.ndim)
        return out - gradient(divergence, self.ndim, self.spacing, periodic=True)

    def residual(self, z: Array, w: Array) -> Array:
        """``z - W w``."""
        first, second = self.parts(z)
        bends = symmetrised(w, self.scales) * self.scale
        return arrays.namespace(z).concatenate((first - w, second + bends), -self.ndim - 1)

    def stacked(self, x: Array) -> Array:
        """``B x``."""
        xp, slopes = arrays.namespace(x), gradient(x, self.ndim, self.spacing, periodic=True)
        n = self.ndim * (self.ndim + 1) // 2
        shape = (*slopes.shape[: slopes.ndim - self.ndim - 1], n, *slopes.shape[slopes.ndim - self.ndim :])
        return xp.concatenate((slopes, arrays.zeros(shape, x)), -self.ndim - 1)

    def norm(self) -> float:
        """Upper bound of the largest singular value: that of the highest frequency."""
        S = Gradient(self.ndim, self.spacing, periodic=True).norm() ** 2
        return self.scale * S / math.sqrt(1 + self.scale**2 * S)

    def fourier_gram(self, shape: Sequence[int]) -> np.ndarray:
        """``s^2 S^2 / (1 + s^2 S)`` over the frequencies of ``shape``."""
        S = self.laplacian(shape)
        return self.scale**2 * S**2 / (1 + self.scale**2 * S)

    def laplacian(self, shape: Sequence[int]) -> np.ndarray:
        """``S``, in FFT order."""
        spectrum = Gradient(self.ndim, self.spacing, periodic=True).fourier_gram(shape)
        assert spectrum is not None
        return spectrum

    def parts(self, z: Array) -> tuple[Array, Array]:
        """First and second differences."""
        rest = (slice(None),) * self.ndim
        return z[(..., slice(None, self.ndim), *rest)], z[(..., slice(self.ndim, None), *rest)]

    @property
    def scales(self) -> tuple[float, ...]:
        """``1 / spacing`` along each axis."""
        return Gradient(self.ndim, self.spacing).scales

    def _back(self, z: Array, h: Array) -> Array:
        """``B^H z - F D^H h`` with ``h = W^H z``, which is ``K^H z``."""
        return self._divergence(self.parts(z)[0]) - self._smoothed(self._divergence(h))

    def _smoothed(self, x: Array) -> Array:
        """``F x``."""
        return arrays.filter_fourier(x, 1 / (1 + self.scale**2 * self.laplacian(tuple(x.shape))), self.ndim)

    def divergence(self, z: Array) -> Array:
        """``B^H z``."""
        return self._divergence(self.parts(z)[0])

    def _divergence(self, z: Array) -> Array:
        return gradient_adjoint(z, self.ndim, self.spacing, periodic=True)
