"""Sum of the norms of groups of differences: what total variation applies to the gradient of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from priors.base import Prior
from priors.differences import Gradient
from priors.layout import Layout, run_blocks, tile_rows
from solvers import arrays
from solvers.arrays import Array

BLOCK = 2**16  # pixels treated at a time where memory matters


@dataclass(frozen=True)
class GroupNorm(Prior):
    """``g(z) = weight * sum_g |z_g|`` for differences ``z = K x`` of shape ``(..., ndim, *spatial)``.

    A group is the differences of one pixel: in all directions where ``isotropic``, else in one; in all channels where
    there is a ``channel_axis``; real and imaginary part always. Where ``K`` is periodic, the differences that wrap
    around belong to no group: they cost nothing and the proximal map leaves them as they are. ``g(K x)`` is then total
    variation without wrapping, while ``K^H K`` is diagonal in Fourier.

    Parameters
    ----------
    operator : Gradient
        ``K``.
    isotropic : bool
        Whether the directions are coupled.
    channel_axis : int, optional
        Negative axis of the image whose entries are coupled, before its spatial axes.
    weight : float
        Factor of the norm.
    smoothing : float
        Size up to which a group counts by its square, ``|z_g|^2 / (2 smoothing)``, and from which on by
        ``|z_g| - smoothing / 2`` (Huber). 0 is the norm itself.
    """

    operator: Gradient
    isotropic: bool = True
    channel_axis: int | None = None
    weight: float = 1.0
    smoothing: float = 0.0

    @property
    def image_ndim(self) -> int:
        channels = 0 if self.channel_axis is None else -self.channel_axis - self.operator.ndim
        return self.operator.ndim + 1 + channels

    def norms(self, z: Array) -> Array:
        """``|z_g|`` of every group; the axes summed over are kept with length 1."""
        axes = ((-self.operator.ndim - 1,) if self.isotropic else ()) + self._channel_axes
        if arrays.is_torch(z):
            if self.operator.periodic:
                z = z * self._inner(z)
            # The gradient of this norm at 0 is 0, where that of a square root is infinite.
            return arrays.namespace(z).linalg.vector_norm(z, dim=axes, keepdim=True) if axes else z.abs()
        squares = z.real**2 + z.imag**2 if arrays.is_complex(z) else z * z
        for border in self._wrapping:
            squares[border] = 0
        return np.sqrt(squares.sum(axis=axes, keepdims=True) if axes else squares)

    def project(self, z: Array) -> Array:
        """Nearest point with ``|z_g| <= 1`` for every group."""
        return z / self.norms(z).clip(min=1)

    def split_step(self, x: Array, q: Array, step: Any, relax: float) -> tuple[Array, Array, tuple[float, ...]]:
        """One fused splitting update (Boyd et al. 2011, sections 3.1 and 3.4.3).

        ``z = prox(q, step)``, ``q_new = relax K x + q - relax z``, ``z_new = prox(q_new, step)``. The split variable z
        and the scaled dual variable ``u = q - z`` are not kept: their sum ``q`` gives both.

        Parameters
        ----------
        x : array
            Image, ``(..., *spatial)``.
        q : array
            Split plus scaled dual variable, ``(..., ndim, *spatial)``.
        step : float
            Step size of the proximal map.
        relax : float
            Over-relaxation in [1, 2).

        Returns
        -------
        q_new : array
            The next sum.
        b : array
            ``K^H (z_new - u_new)``, for the next right-hand side.
        squares : tuple of float
            ``|K x - z_new|^2``, ``|z_new - z|^2``, ``|z_new|^2`` and ``|u_new|^2``, without gradients.
        """
        fits = all(isinstance(a, np.ndarray) and a.dtype == x.dtype and a.dtype.kind in "fc" for a in (x, q))
        body = self._split_kernel if fits and self.operator.periodic else self._split_generic
        return body(x, q, step, relax)

    def _split_generic(self, x: Array, q: Array, step: Any, relax: float) -> Any:
        Kx, z = self.operator(x), self.prox(q, step)
        q_new = relax * (Kx - z) + q
        z_new = self.prox(q_new, step)
        u_new = q_new - z_new
        squares = tuple(arrays.to_float(arrays.dot(r, r)) for r in (Kx - z_new, z_new - z, z_new, u_new))
        return q_new, self.operator.adjoint(z_new - u_new), squares

    def split_step_in_place(self, x: np.ndarray, q: np.ndarray, step: float, relax: float, b: np.ndarray) -> Any:
        """:meth:`split_step` of one real image, the next sum written to ``q`` and ``K^H (z_new - u_new)`` to ``b``.

        Returns the squares. All arrays are contiguous and of one dtype; ``K`` is periodic.
        """
        layout = Layout(self.operator.ndim)
        px, pq, pb = layout.pack(x), layout.pack(q, directions=True), layout.pack(b)
        own = max(tile_rows(px, len(q)), -(-px.shape[3] // arrays.threads()))
        starts = np.arange(0, px.shape[3], own)
        return self._run_split_kernel(px, pq, np.take(pq, starts - 1, axis=-2), pq, pb, own, step, relax)

    def rescale_in_place(self, q: np.ndarray, step: float, factor: float) -> None:
        """Divide the scaled dual variable in ``q`` of one image by ``factor``; ``z = prox(q, step)`` stays."""
        block = max(1, BLOCK // math.prod(q.shape[2:]))
        for start in range(0, q.shape[1], block):
            # One row or plane more: the last one of what the proximal map is given wraps around.
            z = self.prox(q[:, start : start + block + 1], step)[:, :block]
            part = q[:, start : start + block]
            part -= z
            part /= factor
            part += z

    def _split_kernel(self, x: np.ndarray, q: np.ndarray, step: Any, relax: float) -> Any:
        layout = Layout(self.operator.ndim, self.channel_axis)
        px, pq = layout.pack(x), layout.pack(q, directions=True)
        q_new, b = np.empty_like(pq), np.empty_like(px)
        none = np.empty((*pq.shape[:4], 0, pq.shape[5]), pq.dtype)
        squares = self._run_split_kernel(px, pq, none, q_new, b, tile_rows(px, self.operator.ndim), step, relax)
        return layout.unpack(q_new, q.shape, directions=True), layout.unpack(b, x.shape), squares

    def _run_split_kernel(
        self, x: np.ndarray, q: np.ndarray, before: np.ndarray, q_new: np.ndarray, b: np.ndarray, own: int, step: Any,
        relax: float,
    ) -> tuple[float, ...]:  # fmt: skip
        from priors import split_kernels as kernels

        sums = np.zeros((*x.shape[:1], *x.shape[2:4], 4))
        number, step = x.dtype.type, self.weight * float(step)
        least = float(np.finfo(x.dtype).tiny)  # a group of zeros and a step of 0 must not divide 0 by 0
        run_blocks(
            kernels.split_tiles, q.size, len(x) * -(-x.shape[3] // own), own, x, q, before, q_new, b,
            np.array(self.operator.scales, x.dtype), number(max(step, least)),
            number(max(step + self.smoothing, least)), number(relax), self.isotropic, sums,
        )  # fmt: skip
        return tuple(float(total) for total in sums.sum(axis=(0, 1, 2)))

    def _value(self, z: Array) -> Any:
        sizes = self.norms(z)
        if self.smoothing:
            small = sizes.clip(max=self.smoothing)
            sizes = small * (small * (0.5 / self.smoothing) - 1) + sizes
        total = self.weight * sizes.sum()
        return total if arrays.is_torch(z) else float(total)

    def _prox(self, z: Array, step: Any) -> Array:
        factor = shrinkage(self.norms(z), self.weight * step, self.smoothing)
        if arrays.is_torch(z):
            inner = self._inner(z)
            return z * (factor * inner + (1 - inner)) if self.operator.periodic else z * factor
        out = z * factor
        for border in self._wrapping:
            out[border] = z[border]
        return out

    def conjugate(self, y: Array) -> Any:
        """The conjugate function at ``|y_g| <= weight``, where it is finite."""
        return 0.5 * self.smoothing / self.weight * arrays.dot(y, y)

    def _scaled(self, factor: float) -> GroupNorm:
        return replace(self, weight=self.weight * factor)

    def _inner(self, z: Array) -> Array:
        """1 for the differences that count and 0 for those that wrap around, broadcastable to ``z``."""
        return arrays.asarray(inner_differences(tuple(z.shape[z.ndim - self.operator.ndim :])), z)

    @property
    def _wrapping(self) -> list[tuple[Any, ...]]:
        """Indices of the differences that wrap around."""
        ndim = self.operator.ndim
        rest = slice(None)
        borders = [(..., axis, *(rest,) * axis, -1, *(rest,) * (ndim - 1 - axis)) for axis in range(ndim)]
        return borders if self.operator.periodic else []

    @property
    def _channel_axes(self) -> tuple[int, ...]:
        return () if self.channel_axis is None else (self.channel_axis - 1,)


@dataclass(frozen=True)
class HuberGroupNorm(GroupNorm):
    """:class:`GroupNorm` with ``smoothing`` above 0, which makes it differentiable."""

    def gradient(self, z: Array) -> Array:
        """``weight * z_g / max(|z_g|, smoothing)``, nothing for the differences that wrap around."""
        slope = z * (self.weight / self.norms(z).clip(min=self.smoothing))
        if arrays.is_torch(z):
            return slope * self._inner(z) if self.operator.periodic else slope
        for border in self._wrapping:
            slope[border] = 0
        return slope

    def curvature(self) -> float:
        """Bound of the second derivative."""
        return self.weight / self.smoothing


def shrinkage(size: Array, step: Any, smoothing: float = 0.0) -> Array:
    """``1 - step / max(size, step + smoothing)``: the factor by which a group of this ``size`` shrinks."""
    xp = arrays.namespace(size)
    if not arrays.is_torch(size):
        return 1 - step / np.maximum(size, max(step + smoothing, float(np.finfo(size.dtype).tiny)))
    step = xp.as_tensor(step, dtype=size.dtype, device=size.device)
    return 1 - step / xp.maximum(size, (step + smoothing).clip(min=xp.finfo(size.dtype).tiny))


def inner_differences(spatial: tuple[int, ...]) -> np.ndarray:
    """False for the differences that lead past the border, ``(len(spatial), *spatial)``."""
    inner = np.ones((len(spatial), *spatial), bool)
    for axis in range(len(spatial)):
        np.moveaxis(inner[axis], axis, 0)[-1] = False
    return inner
