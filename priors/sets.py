"""Constraints that couple pixels or fix them: simplex, known region, balls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.validation import as_inexact, positive_float, require_finite

NORMS = ("l1", "l2", "max")
ROUNDING = 100  # how many roundings outside a set still count as inside


@dataclass(frozen=True)
class Simplex(Prior):
    """Fractions: entries of at least 0 that add up to ``total`` along an axis.

    ``prox(v, step)`` is the nearest such point for every step, exactly: ``max(v - t, 0)`` with the t that gives
    the sum.

    Parameters
    ----------
    axis : int
        Negative axis along which entries add up, such as the materials of a spectral decomposition.
    total : float
        Their sum, above 0.

    References
    ----------
    Held, Wolfe and Crowder 1974; Condat 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Simplex
    >>> Simplex(axis=-1).prox(np.array([0.9, 0.5, -1.0]), 1.0)
    array([0.7, 0.3, 0. ])
    """

    axis: int = -1
    total: float = 1.0

    is_constraint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.axis, bool) or not hasattr(self.axis, "__index__"):
            raise DTypeError(f"axis is {self.axis!r}; expected a negative integer. Pass such as -3.")
        if self.axis >= 0:
            raise ArgumentError(f"axis is {self.axis}; expected a negative one, since leading axes are a batch.")
        object.__setattr__(self, "total", positive_float("total", self.total))

    @property
    def image_ndim(self) -> int:
        return -self.axis

    def _value(self, x: Array) -> Any:
        slack = ROUNDING * arrays.eps(x) * self.total
        off = arrays.to_float(abs(x.sum(self.axis) - self.total).max()) if arrays.size(x) else 0.0
        return _indicator(bool((x >= -slack).all()) and off <= slack * x.shape[self.axis], x)

    def _prox(self, v: Array, step: Any) -> Array:
        xp, n = arrays.namespace(v), v.shape[self.axis]
        lines = xp.moveaxis(v, self.axis, -1)
        descending = xp.sort(lines, -1)
        descending = xp.flip(descending[0] if arrays.is_torch(v) else descending, (-1,))
        ranks = arrays.asarray(np.arange(1, n + 1.0), v)
        excess = (xp.cumsum(descending, -1) - self.total) / ranks
        count = (descending > excess).sum(-1)[..., None]  # how many entries stay above 0: a leading stretch
        take = xp.take_along_dim if arrays.is_torch(v) else np.take_along_axis
        return xp.moveaxis((lines - take(excess, count - 1, -1)).clip(min=0), -1, self.axis)

    def _admit(self, name: str, x: Any) -> Array:
        return _real(self, name, super()._admit(name, x))


@dataclass(frozen=True, eq=False, repr=False)
class KnownRegion(Prior):
    """Pixels whose value is known: ``x = values`` where ``mask``, anything elsewhere.

    Parameters
    ----------
    mask : array of bool
        Where the image is known; broadcasts to it.
    values : float or array
        The known values; broadcasts to the image. What lies outside the mask does not matter.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import KnownRegion
    >>> KnownRegion(np.array([True, False]), 0.0).prox(np.array([3.0, 4.0]), 1.0)
    array([0., 4.])
    """

    mask: Any
    values: Any = 0.0

    is_constraint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        mask = np.asarray(arrays.to_numpy(self.mask))
        if mask.dtype.kind != "b":
            raise DTypeError(f"mask has dtype {mask.dtype}; expected booleans. Pass such as mask > 0.")
        values = np.asarray(arrays.to_numpy(as_inexact("values", self.values)))
        try:
            shape = np.broadcast_shapes(mask.shape, values.shape)
        except ValueError:
            raise ShapeError(
                f"values have shape {values.shape}; the mask has {mask.shape}. Pass an image of that shape or a number."
            ) from None
        require_finite("values", np.where(mask, values, 0), "Give finite values where the mask is True.")
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "values", np.where(np.broadcast_to(mask, shape), values, 0) if shape else values)

    @property
    def image_ndim(self) -> int:
        return int(max(self.mask.ndim, self.values.ndim))

    def _value(self, x: Array) -> Any:
        apart = abs(x - self._known(x)) * arrays.asarray(self.mask, x)
        slack = ROUNDING * arrays.eps(x) * float(abs(self.values).max(initial=0.0))
        return _indicator(not arrays.size(x) or arrays.to_float(apart.max()) <= slack, x)

    def _prox(self, v: Array, step: Any) -> Array:
        known, mask = self._known(v), self.mask
        if arrays.is_torch(v):
            mask = arrays.namespace(v).as_tensor(mask, device=v.device)
        return arrays.namespace(v).where(mask, known, v)

    def _known(self, like: Array) -> Array:
        if np.iscomplexobj(self.values) and not arrays.is_complex(like):
            raise DTypeError(f"values are complex; the image has dtype {like.dtype}. Pass real values.")
        dtype = like.dtype if arrays.is_torch(like) else None
        return arrays.asarray(self.values, like, dtype=dtype)

    def _admit(self, name: str, x: Any) -> Array:
        x = super()._admit(name, x)
        shape = np.broadcast_shapes(self.mask.shape, self.values.shape)
        if any(a not in (1, b) for a, b in zip(shape, x.shape[x.ndim - len(shape) :], strict=True)):
            raise ShapeError(
                f"{name} has shape {tuple(x.shape)}; the mask has {self.mask.shape}. Pass an image of that."
            )
        return x

    def __repr__(self) -> str:
        return f"KnownRegion(mask{self.mask.shape})"


@dataclass(frozen=True, eq=False, repr=False)
class NormBall(Prior):
    """Images near another one: ``|x - center| <= radius`` in the l1, the Euclidean or the maximum norm.

    ``prox(v, step)`` is the nearest such image for every step, exactly. Complex images count moduli.

    Parameters
    ----------
    radius : float
        Largest distance, above 0; of each image of a batch.
    norm : {"l2", "l1", "max"}
        How distance is measured.
    center : float or array
        Middle of the ball; broadcasts to the image.
    ndim : int
        Number of trailing axes over which distance is measured. Leading axes are a batch.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NormBall
    >>> NormBall(1.0, ndim=1).prox(np.array([3.0, 4.0]), 1.0)
    array([0.6, 0.8])
    """

    radius: float
    norm: str = "l2"
    center: Any = 0.0
    ndim: int = 2

    is_constraint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", positive_float("radius", self.radius))
        if self.norm not in NORMS:
            raise OptionError(
                f"norm is {self.norm!r}; expected one of {', '.join(NORMS)}.{suggestion(str(self.norm), NORMS)}"
            )
        if isinstance(self.ndim, bool) or not hasattr(self.ndim, "__index__") or self.ndim < 1:
            raise ArgumentError(f"ndim is {self.ndim!r}; expected a positive integer. Pass the number of image axes.")
        center = np.asarray(arrays.to_numpy(as_inexact("center", self.center)))
        require_finite("center", center, "Pass finite values.")
        object.__setattr__(self, "center", center)

    @property
    def image_ndim(self) -> int:
        return int(max(self.ndim, self.center.ndim))

    def _value(self, x: Array) -> Any:
        sizes = abs(x - arrays.asarray(self.center, x)).reshape((-1, *x.shape[x.ndim - self.ndim :]))
        axes = tuple(range(1, self.ndim + 1))
        if self.norm == "max":
            distances = sizes.amax(axes) if arrays.is_torch(x) else sizes.max(axis=axes)
        else:
            distances = sizes.sum(axes) if self.norm == "l1" else (sizes**2).sum(axes) ** 0.5
        slack = 1 + ROUNDING * arrays.eps(x)
        return _indicator(not arrays.size(x) or arrays.to_float(distances.max()) <= self.radius * slack, x)

    def _prox(self, v: Array, step: Any) -> Array:
        center = arrays.asarray(self.center, v)
        apart = v - center
        sizes, axes = abs(apart), tuple(range(-self.ndim, 0))
        if self.norm == "max":
            factor = self.radius / sizes.clip(min=self.radius)
        elif self.norm == "l2":
            factor = self.radius / ((sizes**2).sum(axes, keepdims=True) ** 0.5).clip(min=self.radius)
        else:
            factor = self._towards_axes(sizes)
        return center + apart * factor

    def _towards_axes(self, sizes: Array) -> Array:
        """Factors of the moduli for the l1 ball: those of a point outside end up on a simplex."""
        flat = sizes.reshape((*sizes.shape[: sizes.ndim - self.ndim], -1))
        outside = flat.sum(-1, keepdims=True) > self.radius
        moved = arrays.namespace(sizes).where(outside, Simplex(-1, self.radius).prox(flat, 1.0), flat)
        return (moved / flat.clip(min=1e-30)).reshape(tuple(sizes.shape))

    def __repr__(self) -> str:
        return f"NormBall({self.radius:g}, {self.norm!r}, ndim={self.ndim})"


def _indicator(inside: bool, like: Array) -> Any:
    """0 inside a set and infinity outside."""
    if arrays.is_torch(like):
        return like.real.new_full((), 0.0 if inside else np.inf)
    return 0.0 if inside else float("inf")


def _real(prior: Any, name: str, x: Array) -> Array:
    if arrays.is_complex(x):
        raise DTypeError(f"{name} has dtype {x.dtype}; {prior!r} takes real images. Pass {name}.real or its modulus.")
    return x
