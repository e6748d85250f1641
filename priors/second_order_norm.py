"""The norm of total generalised variation, in the form that splitting solvers take; see :mod:`priors.second_order`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from priors.base import Prior
from priors.group_norm import shrinkage
from priors.layout import Layout
from priors.second_order import SecondOrder
from priors.symmetrised import existing, symmetrised_adjoint
from solvers import arrays
from solvers.arrays import Array

RELAXATION = 1.8
STEP_OF_SIZE = 0.3  # first penalty of the value: its weight over this fraction of the differences
ESTIMATE = 10  # iterations for an estimate of the value
LOOK = 10  # iterations between looks at the duality gap


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
