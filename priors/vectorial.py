"""Vectorial total variation: edges of all channels at the same places and in the same directions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from priors.base import Prior
from priors.composite import Composite, check_channel_axis
from priors.differences import Gradient
from priors.group_norm import inner_differences, shrinkage
from priors.layout import Layout, run_chunks
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.protocols import Term

TINY = 1e-300  # keeps roots and quotients of nothing finite


@dataclass(frozen=True)
class VectorialTV(Composite):
    """Total nuclear variation ``g(x) = sum_i |J_i|_*``, ``J_i`` being the Jacobian of the channels at pixel i.

    The nuclear norm, the sum of the singular values, is small where the gradients of all channels are parallel: edges
    are shared by the channels and so are their directions. ``TotalVariation(channel_axis=...)``, which sums the squares
    of all entries, shares their places only. For one channel both are total variation.

    Parameters
    ----------
    channel_axis : int
        Negative axis of the channels, before the spatial ones.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    tol, iterations
        Accuracy of the proximal map (relative duality gap) and its most iterations; see :class:`TotalVariation`.

    References
    ----------
    Holt 2014; Lefkimmiatis, Roussos, Maragos and Unser 2015; proximal map: :mod:`priors.composite`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import VectorialTV
    >>> step = np.zeros((1, 4))
    >>> step[0, 2:] = 1.0
    >>> VectorialTV().value(np.stack([3 * step, 4 * step]))
    5.0
    """

    channel_axis: int = -3
    ndim: int = 2
    spacing: Any = None
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", Gradient(self.ndim, self.spacing).spacing)
        if self.channel_axis is None:
            raise ArgumentError("channel_axis is None; expected the axis of the channels. Pass such as -3.")
        check_channel_axis(self.channel_axis, self.ndim)
        self._check_accuracy()

    @property
    def image_ndim(self) -> int:
        return -self.channel_axis

    def terms(self) -> tuple[Term, ...]:
        """One term, of the periodic gradient, in which differences that wrap around do not count."""
        return (self._term(periodic=True),)

    def _composition(self) -> Term:
        return self._term(periodic=False)

    def _term(self, *, periodic: bool) -> Term:
        K = Gradient(self.ndim, self.spacing, periodic=periodic)
        return Term(JacobianNorm(K, self.channel_axis), K)


@dataclass(frozen=True)
class JacobianNorm(Prior):
    """``g(z) = weight * sum_i |J_i|_*`` of differences ``(..., ndim, *spatial)`` with channels before.

    ``prox(J) = J F`` with ``F = V diag(max(1 - step / sigma, 0)) V^H``, a function of the small Gram matrix ``J^H J``.

    Parameters
    ----------
    gradient : Gradient
        Where the differences come from; if periodic, those that wrap around do not count.
    channel_axis : int
        Negative axis of the image that holds the channels.
    weight : float
        Factor.
    """

    gradient: Gradient
    channel_axis: int = -3
    weight: float = 1.0

    @property
    def image_ndim(self) -> int:
        return 1 - self.channel_axis

    def conjugate(self, y: Array) -> Any:
        """The conjugate function where it is finite: 0."""
        return 0.0

    def estimate(self, z: Array) -> Any:
        """The value, from the Gram matrices: quick, and off by the root of the rounding where a singular value is 0."""
        sizes = _eigen(self._gram(z * self._inner(z)))[0].clip(min=0) ** 0.5
        return self.weight * sizes.sum()

    def _value(self, z: Array) -> Any:
        xp = arrays.namespace(z)
        jacobians = xp.moveaxis(z * self._inner(z), (self.channel_axis - 1, -self.gradient.ndim - 1), (-2, -1))
        if arrays.is_torch(z):
            return self.weight * xp.linalg.svdvals(jacobians).sum()
        return self.weight * float(np.linalg.svd(jacobians, compute_uv=False).sum())

    def _prox(self, z: Array, step: Any) -> Array:
        if self.gradient.ndim == 2 and isinstance(z, np.ndarray) and z.dtype.kind == "f" and step > 0:
            return self._prox_kernel(z, self.weight * float(step))
        inner = self._inner(z)
        counted = z * inner
        factor = shrinking(self._gram(counted), self.weight * step)
        return self._times(counted, factor) + z * (1 - inner)

    def _prox_kernel(self, z: np.ndarray, step: float) -> np.ndarray:
        from priors.pixel_kernels import jacobian

        layout, spatial = Layout(2, self.channel_axis), z.shape[z.ndim - 2 :]
        packed = layout.pack(z, directions=True)
        out = np.empty_like(packed)
        counted = inner_differences(spatial) if self.gradient.periodic else np.ones((2, *spatial), bool)
        run_chunks(jacobian, packed, counted.reshape(2, -1), step, out.reshape((*out.shape[:3], -1)))
        return layout.unpack(out, z.shape, directions=True)

    def _gram(self, z: Array) -> Array:
        """``J^H J``, ``(ndim, ndim, ..., *spatial)``, in double precision: its roots are singular values."""
        xp, n = arrays.namespace(z), self.gradient.ndim
        parts = [self._direction(z, d) for d in range(n)]
        axis = self.channel_axis
        rows = [xp.stack([_wide((p.conj() * q).sum(axis, keepdims=True)) for q in parts]) for p in parts]
        return xp.stack(rows)

    def _times(self, z: Array, factor: Array) -> Array:
        """``J F``."""
        xp, n = arrays.namespace(z), self.gradient.ndim
        factor = arrays.asarray(factor, z) if arrays.is_complex(factor) == arrays.is_complex(z) else factor
        parts = [self._direction(z, e) for e in range(n)]
        columns = [sum(parts[e] * factor[e, d] for e in range(n)) for d in range(n)]
        return xp.stack(columns, -n - 1)

    def _direction(self, z: Array, d: int) -> Array:
        return z[(..., d, *(slice(None),) * self.gradient.ndim)]

    def _inner(self, z: Array) -> Array:
        """1 for the differences that count and 0 for those that wrap around."""
        spatial = tuple(z.shape[z.ndim - self.gradient.ndim :])
        return arrays.asarray(inner_differences(spatial) if self.gradient.periodic else np.ones(()), z)

    def _scaled(self, factor: float) -> JacobianNorm:
        return replace(self, weight=self.weight * factor)


def shrinking(gram: Array, step: Any) -> Array:
    """``V diag(max(1 - step / sqrt(lambda), 0)) V^H`` of matrices ``(n, n, ...)`` with eigenvalues lambda."""
    values, vectors = _eigen(gram)
    xp = arrays.namespace(gram)
    factors = shrinkage(xp.sqrt(values.clip(min=TINY)), step)
    return xp.einsum("ik...,jk...->ij...", vectors * factors, vectors.conj())


def _eigen(gram: Array) -> tuple[Array, Array]:
    """Eigenvalues ``(n, ...)`` and eigenvectors ``(n, n, ...)``, closed for n of 1 and 2."""
    xp, n = arrays.namespace(gram), gram.shape[0]
    if n == 1:
        return gram[0].real, xp.ones_like(gram)
    if n == 2:
        return _eigen_of_pairs(gram)
    moved = xp.moveaxis(gram, (0, 1), (-2, -1))
    values, vectors = xp.linalg.eigh(moved)
    return xp.moveaxis(values, -1, 0), xp.moveaxis(vectors, (-2, -1), (0, 1))


def _eigen_of_pairs(gram: Array) -> tuple[Array, Array]:
    """The eigenvector to the larger eigenvalue is the longer of two candidates; the other one is orthogonal to it."""
    xp = arrays.namespace(gram)
    a, b, c = gram[0, 0].real, gram[1, 1].real, gram[0, 1]
    half = 0.5 * (a - b)
    root = xp.sqrt(half**2 + (c * c.conj()).real + TINY)
    large = 0.5 * (a + b) + root
    small = (a * b - (c * c.conj()).real) / large.clip(min=TINY)
    first = xp.where(half >= 0, root + half + 0 * c, c)
    second = xp.where(half >= 0, c.conj(), root - half + 0 * c)
    size = xp.sqrt((first * first.conj()).real + (second * second.conj()).real)
    first, second = first / size, second / size
    values = xp.stack([large, small])
    vectors = xp.stack([xp.stack([first, -second.conj()]), xp.stack([second, first.conj()])])
    return values, vectors


def _wide(x: Array) -> Array:
    """Double precision."""
    if arrays.is_torch(x):
        torch = arrays.namespace(x)
        return x.to(torch.complex128 if x.is_complex() else torch.float64)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
