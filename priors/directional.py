"""Directional total variation: edges where, and along which, another image of the same scene has them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from priors.base import Prior
from priors.composite import Composite, check_channel_axis
from priors.differences import Gradient, gradient
from priors.group_norm import inner_differences
from priors.layout import Layout, run_chunks
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.protocols import Term
from solvers.validation import as_inexact, positive_float, require_finite

NEWTON_STEPS = 12  # for the size of a shrunk group; convergence is monotone, and quadratic in the end
TINY = 1e-18  # keeps quotients of nothing finite; its square is a float32
TYPICAL = 0.1  # edge of the guide that counts half, over its largest differences


@dataclass(frozen=True, eq=False, repr=False)
class DirectionalTV(Composite):
    """Directional total variation ``g(x) = sum_i |(I - gamma xi_i xi_i^T) (D x)_i|`` guided by another image.

    ``xi = D guide / sqrt(|D guide|^2 + eta^2)``: differences across an edge of the guide count only ``1 - gamma
    |xi|^2`` of their size, those along it and those where the guide is flat count in full. Edges of the guide need not
    be edges of the image, and their sign and height do not matter (pansharpening; two contrasts in MRI; PET by MRI).

    Parameters
    ----------
    guide : array
        Real image of the same scene on the same grid, ``spatial`` (its number of axes is that of the prior: 1, 2 or 3).
    gamma : float
        How much the guide is trusted, above 0 and at most 1.
    eta : float, optional
        Difference of the guide that counts as an edge by half, in its unit; above its noise. None is a tenth of the
        99th percentile of its differences.
    channel_axis : int, optional
        Negative axis of coupled channels, before the spatial ones. None treats all leading axes as a batch.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    tol, iterations
        Accuracy of the proximal map (relative duality gap) and its most iterations; see :class:`TotalVariation`.

    References
    ----------
    Ehrhardt and Betcke 2016; proximal map: :mod:`priors.composite`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import DirectionalTV, TotalVariation
    >>> edge = np.eye(8).cumsum(axis=0)
    >>> DirectionalTV(edge, eta=0.01).value(5 - 3 * edge) < 0.1 * TotalVariation().value(5 - 3 * edge)
    True
    """

    guide: Any
    gamma: float = 1.0
    eta: float | None = None
    channel_axis: int | None = None
    spacing: Any = None
    tol: float | None = None
    iterations: int = 2000
    xi: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        guide = np.asarray(arrays.to_numpy(as_inexact("guide", self.guide)))
        if guide.ndim not in (1, 2, 3) or np.iscomplexobj(guide):
            raise ShapeError(
                f"guide has shape {guide.shape} and dtype {guide.dtype}; expected a real image of 1 to 3 axes. "
                "Pass one channel of it, its mean over the channels or its modulus."
            )
        require_finite("guide", guide, "Fill them in, for example with np.nan_to_num(guide).")
        if not 0 < positive_float("gamma", self.gamma) <= 1:
            raise ArgumentError(f"gamma is {self.gamma}; expected a number above 0 and at most 1. Pass such as 0.95.")
        object.__setattr__(self, "guide", guide)
        object.__setattr__(self, "spacing", Gradient(guide.ndim, self.spacing).spacing)
        check_channel_axis(self.channel_axis, guide.ndim)
        self._check_accuracy()
        slopes = gradient(guide.astype(np.float64), guide.ndim, self.spacing)
        sizes = np.sqrt((slopes**2).sum(axis=0))
        eta = (
            (TYPICAL * float(np.percentile(sizes, 99)) or 1.0) if self.eta is None else positive_float("eta", self.eta)
        )
        object.__setattr__(self, "eta", eta)
        object.__setattr__(self, "xi", slopes / np.sqrt(sizes**2 + eta**2))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return int(self.guide.ndim)

    @property
    def image_ndim(self) -> int:
        return self.ndim if self.channel_axis is None else -self.channel_axis

    def terms(self) -> tuple[Term, ...]:
        """One term, of the periodic gradient, in which differences that wrap around do not count."""
        return (self._term(periodic=True),)

    def _composition(self) -> Term:
        return self._term(periodic=False)

    def _term(self, *, periodic: bool) -> Term:
        K = Gradient(self.ndim, self.spacing, periodic=periodic)
        return Term(DirectionalNorm.build(K, self.xi, self.gamma, self.channel_axis), K)

    def _admit(self, name: str, x: Any) -> Array:
        x = super()._admit(name, x)
        if tuple(x.shape[x.ndim - self.ndim :]) != self.guide.shape:
            raise ShapeError(
                f"{name} has shape {tuple(x.shape)}; the guide has {self.guide.shape}. "
                "Resample the guide onto the grid of the image."
            )
        return x

    def __repr__(self) -> str:
        return f"DirectionalTV(guide of {self.guide.shape}, gamma={self.gamma:g}, eta={self.eta:.3g})"


@dataclass(frozen=True, eq=False)
class DirectionalNorm(Prior):
    """``g(z) = weight * sum_i |z_i|`` with what lies along ``axis_i`` counted ``along_i`` times``.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    axis : ndarray
        Unit vectors, ``(ndim, *spatial)``, zero along differences that wrap around.
    along : ndarray
        Factors above 0 and at most 1, ``spatial``.
    counted : ndarray
        Which differences do not wrap around, ``(ndim, *spatial)``.
    channel_axis : int, optional
        Negative axis of the image whose entries are coupled.
    weight : float
        Factor.
    """

    ndim: int
    axis: np.ndarray
    along: np.ndarray
    counted: np.ndarray
    channel_axis: int | None = None
    weight: float = 1.0

    @classmethod
    def build(cls, K: Gradient, xi: np.ndarray, gamma: float, channel_axis: int | None) -> DirectionalNorm:
        """From the edges ``xi`` of the guide."""
        spatial = xi.shape[1:]
        counted = inner_differences(spatial) if K.periodic else np.ones(xi.shape, bool)
        size = np.sqrt((xi**2).sum(axis=0))
        axis = xi / np.maximum(size, np.finfo(float).tiny)
        return cls(K.ndim, axis, 1 - gamma * size**2, counted, channel_axis)

    @property
    def image_ndim(self) -> int:
        return self.ndim + 1 + (0 if self.channel_axis is None else -self.channel_axis - self.ndim)

    def conjugate(self, y: Array) -> Any:
        """The conjugate function where it is finite: 0."""
        return 0.0

    def _value(self, z: Array) -> Any:
        across, _, rest = self._split(z)
        squares = arrays.asarray(self.along, z) ** 2 * self._square(across) + self._square(rest)
        total = self.weight * _root(squares).sum()
        return total if arrays.is_torch(z) else float(total)

    def _prox(self, z: Array, step: Any) -> Array:
        """``p`` with ``p + step D^2 p / |D p| = z``: each part shrinks, given the size ``|D p|``."""
        if isinstance(z, np.ndarray) and z.dtype.kind in "fc" and step > 0:
            return self._prox_kernel(z, self.weight * float(step))
        across, axis, rest = self._split(z)
        along, step = arrays.asarray(self.along, z), self.weight * step
        size = _shrunk_size(self._square(across), self._square(rest), along, step)
        first = size / (size + step * along**2 + TINY)
        second = size / (size + step + TINY)
        moved = across * axis * first + rest * second
        counted = arrays.asarray(self.counted, z)
        return moved * counted + z * (1 - counted)

    def _prox_kernel(self, z: np.ndarray, step: float) -> np.ndarray:
        from priors.pixel_kernels import directional

        layout = Layout(self.ndim, self.channel_axis)
        packed = layout.pack(z, directions=True)
        out = np.empty_like(packed)
        axis, counted = (array.reshape(self.ndim, -1) for array in (self.axis, self.counted))
        flat = out.reshape((*out.shape[:3], -1))
        run_chunks(directional, packed, axis, self.along.reshape(-1), counted, step, flat)
        return layout.unpack(out, z.shape, directions=True)

    def _split(self, z: Array) -> tuple[Array, Array, Array]:
        """Components along the axis, the axis, and what is left, without differences that wrap around."""
        axis = arrays.asarray(self.axis, z)
        counted = z * arrays.asarray(self.counted, z)
        across = (counted * axis).sum(-self.ndim - 1)[(..., None, *(slice(None),) * self.ndim)]
        return across, axis, counted - across * axis

    def _square(self, z: Array) -> Array:
        """Squares summed over directions and channels, axes kept."""
        axes = (-self.ndim - 1, *(() if self.channel_axis is None else (self.channel_axis - 1,)))
        squares = (z * z.conj()).real if arrays.is_complex(z) else z * z
        return squares.sum(axes, keepdims=True)

    def _scaled(self, factor: float) -> DirectionalNorm:
        return replace(self, weight=self.weight * factor)


def _shrunk_size(A: Array, B: Array, along: Array, step: Any) -> Array:
    """Root of ``(d a / (l + step d^2))^2 + (b / (l + step))^2 = 1`` in l by Newton's method, 0 where there is none."""
    xp = arrays.namespace(A)
    weight, tiny = step * along**2, TINY
    size = xp.maximum(along * _root(A) - weight, _root(B) - step).clip(min=0)
    for _ in range(NEWTON_STEPS):
        p, q = along**2 * A / (size + weight + tiny) ** 2, B / (size + step + tiny) ** 2
        slope = 2 * (p / (size + weight + tiny) + q / (size + step + tiny))
        size = size + ((p + q - 1) / (slope + tiny)).clip(min=0)
    return size


def _root(squares: Array) -> Array:
    """Square root whose gradient at 0 is 0."""
    if arrays.is_torch(squares):
        xp = arrays.namespace(squares)
        return xp.where(squares > 0, xp.where(squares > 0, squares, 1.0).sqrt(), 0.0)
    return np.sqrt(squares)
