"""The second-order norm of total generalised variation, in the form that splitting solvers take.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from priors.base import Prior
from priors.differences import Gradient, gradient, gradient_adjoint
from priors.group_norm import shrinkage
from priors.layout import Layout
from priors.symmetrised import existing, symmetrised, symmetrised_adjoint
from solvers import arrays
from solvers.arrays import Array

SCALE = 2.0  # s: second differences are the smaller ones, so their penalty is larger
RELAXATION = 1.8
STEP_OF_SIZE = 0.3  # first penalty of the value: its weight over this fraction of the differences
ESTIMATE = 10  # iterations for an estimate of the value
LOOK = 10  # iterations between looks at the duality gap


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


@dataclass(frozen=True)
class SecondOrderNorm(Prior):
    """``weight * min_w psi(z - W w)``; differences that wrap around cost nothing.

    Parameters
    ----------
    operator : SecondOrder
        Gives ``W``.
    ratio : float
        Weight of second differences over that of first ones.
    channel_axis : int, optional
        Negative axis of the image whose entries are coupled, before its spatial axes.
    weight : float
        Factor of the norm.
    tol, iterations
        Relative accuracy of value and proximal map, and most iterations.
    """

    operator: SecondOrder
    ratio: float = 2.0
    channel_axis: int | None = None
    weight: float = 1.0
    tol: float | None = None
    iterations: int = 1000

    @property
    def image_ndim(self) -> int:
        return self.operator.ndim + 1

    def shrink(self, q: Array, step: Any) -> Array:
        """Proximal map of ``weight * psi``."""
        parts = [
            part * shrinkage(self._norms(part, mask), length) * mask + part * ~mask
            for part, mask, length in zip(self.operator.parts(q), self._masks(q), self._steps(step), strict=True)
        ]
        return arrays.namespace(q).concatenate(parts, -self.operator.ndim - 1)

    def split_prox(self, q: Array, step: Any) -> Array:
        """The split variable that belongs to the state of :meth:`split_step`."""
        return self.shrink(q, step)

    def split_step(self, x: Array, q: Array, step: Any, relax: float) -> tuple[Array, Array, tuple[float, ...]]:
        """One splitting update with the best slopes; arguments and results as of ``GroupNorm.split_step``."""
        fits = all(isinstance(array, np.ndarray) and array.dtype == x.dtype for array in (x, q))
        if fits and self.operator.ndim == 2:
            return self._split_kernel(x, q, step, relax)
        K, z = self.operator, self.shrink(q, step)
        v = self.residual_of(x, 2 * z - q)
        q_new = relax * (v - z) + q
        z_new = self.shrink(q_new, step)
        u_new = q_new - z_new
        squares = tuple(arrays.to_float(arrays.dot(r, r)) for r in (v - z_new, z_new - z, z_new, u_new))
        return q_new, K.adjoint(z_new - u_new), squares

    def _split_kernel(self, x: np.ndarray, q: np.ndarray, step: Any, relax: float) -> Any:
        from priors.second_order_image import split_step

        layout = self._layout
        image = layout.pack(x)[:, :, 0]
        q_new, b, squares = split_step(self.operator, image, self._pack(q), self._steps(step), relax)
        return layout.unpack(q_new, q.shape, directions=True), layout.unpack(b, x.shape), squares

    def _steps(self, step: Any) -> tuple[Any, Any]:
        """By how much first and second differences shrink."""
        return step * self.weight, step * self.weight * self.ratio / self.operator.scale

    def upper(self, z: Array) -> Array:
        """``weight * psi(z)``."""
        first, second = (
            self._norms(part, mask).sum() for part, mask in zip(self.operator.parts(z), self._masks(z), strict=True)
        )
        return self.weight * (first + self.ratio / self.operator.scale * second)

    def feasible(self, u: Array) -> Array:
        """A dual variable of ``psi`` with ``W^H y = 0``, from any estimate of it: ``(s E^H y_2, y_2)``, scaled."""
        K, (first_mask, second_mask) = self.operator, self._masks(u)
        second = K.parts(u)[1] * second_mask
        first = symmetrised_adjoint(second, K.scales) * K.scale
        sizes = self._norms(first, first_mask).max(), self._norms(second, second_mask).max()
        largest = max(
            arrays.to_float(sizes[0]) / self.weight,
            arrays.to_float(sizes[1]) * K.scale / (self.weight * self.ratio),
            1.0,
        )
        return arrays.namespace(u).concatenate((first, second), -K.ndim - 1) * (1 / largest)

    def estimate(self, z: Array) -> Any:
        """The value from above, after a few iterations."""
        return sum(self._value_of(item, ESTIMATE) for item in self._images(z))

    def _value(self, z: Array) -> Any:
        total = sum(self._value_of(item, self.iterations) for item in self._images(z))
        return total if arrays.is_torch(z) else float(total)

    def _prox(self, z: Array, step: Any) -> Array:
        """Accelerated proximal gradient for ``min_r step psi(r) + 1/2 |P (r - z)|^2``; the map is ``z + P (r - z)``."""
        r, previous = z, z
        for k in range(self.iterations):
            forward = r + k / (k + 3) * (r - previous)
            r, previous = self.shrink(forward - self._projected(forward - z), step), r
            change = arrays.to_float(arrays.norm(r - previous))
            if change <= 0.1 * self.accuracy(z) * arrays.to_float(arrays.norm(r)):
                break
        return z + self._projected(r - z)

    def _projected(self, z: Array) -> Array:
        """``P z``."""
        return self._nearest(z, 0 * z)

    def _images(self, z: Array) -> Array:
        """Each image of a batch."""
        channels = 0 if self.channel_axis is None else -self.channel_axis - self.operator.ndim
        return z.reshape((-1, *z.shape[z.ndim - self.image_ndim - channels :]))

    def _value_of(self, z: Array, iterations: int) -> Any:
        size = arrays.to_float(arrays.norm(z)) / math.sqrt(arrays.size(z))
        best, step, q = self.upper(z), size * STEP_OF_SIZE / self.weight, z
        if not arrays.to_float(best) > arrays.eps(z) * arrays.to_float(abs(z).sum()):
            return best
        advance = self._value_step(z, step)
        for k in range(1, iterations + 1):
            q = advance(q)
            if k % LOOK == 0:
                split = self.shrink(q, step)
                best = self.upper(self._nearest(z, 2 * split - q))
                floor = arrays.dot(z, self.feasible((q - split) * (1 / step)))
                if arrays.to_float(best) - arrays.to_float(floor) <= self.accuracy(z) * arrays.to_float(best):
                    break
        return best

    def _value_step(self, z: Array, step: float) -> Callable[[Array], Array]:
        """``q -> q``: one splitting step of ``min_w psi(z - W w)``."""
        if isinstance(z, np.ndarray) and self.operator.ndim == 2:
            from priors.second_order_image import value_step

            layout, Wz = self._layout, self.operator.residual_adjoint(z)
            packed, back = self._pack(z), Layout(2, self.channel_axis).pack(Wz, directions=True)[:, :, :, 0]
            return lambda q: layout.unpack(
                value_step(self.operator, packed, back, self._pack(q), self._steps(step), RELAXATION),
                q.shape, directions=True,
            )  # fmt: skip

        def advance(q: Array) -> Array:
            split = self.shrink(q, step)
            return q + RELAXATION * (self._nearest(z, 2 * split - q) - split)

        return advance

    def _nearest(self, z: Array, a: Array) -> Array:
        """``z - W w`` with the slopes ``w`` that make it nearest to ``a``."""
        return self.operator.residual(z, self.operator.best_slopes(self.operator.residual_adjoint(z - a)))

    @property
    def _layout(self) -> Layout:
        return Layout(2, self.channel_axis, differences=5)

    def _pack(self, q: np.ndarray) -> np.ndarray:
        return self._layout.pack(q, directions=True)[:, :, :, 0]

    def accuracy(self, z: Array) -> float:
        """Relative duality gap to stop at."""
        if self.tol is not None:
            return self.tol
        return 1e-3 if arrays.eps(z) > 1e-10 else 1e-4

    def residual_of(self, x: Array, a: Array) -> Array:
        """``B x - W w`` with the slopes ``w`` that make it nearest to ``a``."""
        return self._nearest(self.operator.stacked(x), a)

    def _norms(self, part: Array, mask: Array) -> Array:
        axes = (-self.operator.ndim - 1, *(() if self.channel_axis is None else (self.channel_axis - 1,)))
        if arrays.is_torch(part):
            return arrays.namespace(part).linalg.vector_norm(part * mask, dim=axes, keepdim=True)
        squares = part.real**2 + part.imag**2 if arrays.is_complex(part) else part * part
        return np.sqrt((squares * mask).sum(axis=axes, keepdims=True))

    def _masks(self, z: Array) -> tuple[Array, Array]:
        spatial = tuple(z.shape[z.ndim - self.operator.ndim :])
        mask = existing(spatial)
        mask = arrays.to_device_of(mask.copy(), z) if arrays.is_torch(z) else mask
        return mask[: self.operator.ndim], mask[self.operator.ndim :]

    def _scaled(self, factor: float) -> SecondOrderNorm:
        return replace(self, weight=self.weight * factor)
