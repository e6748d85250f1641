"""Total generalised variation of second order: piecewise affine images, without the staircases of total variation."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

from priors.base import Prior, step_size
from priors.differences import Gradient
from priors.second_order import SecondOrder
from priors.second_order_norm import SecondOrderNorm
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.protocols import Term
from solvers.validation import positive_float, positive_int

RELAXATION = 1.8
STEP_OF_SPREAD = 0.07  # first penalty: step over this fraction of the standard deviation of the image
FLAT = 1e-4  # objective over the power of the image below which the gap is relative to the latter
LOOK = 10  # iterations between two looks at the duality gap


@dataclass(frozen=True)
class TGV(Prior):
    """Total generalised variation of second order, ``g(x) = min_w sum_i |(D x - w)_i| + ratio * sum_i |(E w)_i|``.

    ``D`` takes the forward differences of neighbouring pixels, ``w`` is a field of slopes and ``E`` its symmetrised
    derivative: edges cost their height times their length, as in total variation, affine ramps cost nothing and kinks
    cost ``ratio`` times their change of slope. Differences that lead past the border do not count. Complex images count
    moduli, and the channels of a channel axis share their edges.

    There is no closed form: value and proximal map are computed by splitting, with the best ``w`` for each image found
    in Fourier. ADMM finds image and slopes together.

    Parameters
    ----------
    ratio : float
        Weight of second differences, in pixels; large gives piecewise constant slopes over long distances.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.
    channel_axis : int, optional
        Negative axis of coupled channels, before the spatial ones. None treats all leading axes as a batch.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    tol : float, optional
        Accuracy of value and proximal map: the relative duality gap. None is 1e-3 in single and 1e-4 in double
        precision.
    iterations : int
        Most iterations of either; a warning says if they do not suffice.

    References
    ----------
    Bredies, Kunisch and Pock 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import TGV, TotalVariation
    >>> ramp = np.add.outer(np.arange(16.0), 2 * np.arange(16.0))
    >>> TGV().value(ramp) < 1e-9 * TotalVariation().value(ramp)
    True
    """

    ratio: float = 2.0
    ndim: int = 2
    channel_axis: int | None = None
    spacing: Any = None
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", positive_float("ratio", self.ratio))
        object.__setattr__(self, "spacing", Gradient(self.ndim, self.spacing).spacing)
        positive_int("iterations", self.iterations)
        if self.channel_axis is not None and not -self.channel_axis > self.ndim:
            raise ArgumentError(
                f"channel_axis is {self.channel_axis}; expected at most {-self.ndim - 1}, before the {self.ndim} "
                "spatial axes. Move the channels there, for example with numpy.moveaxis."
            )
        if self.tol is not None and not 0 < self.tol < 1:
            raise ArgumentError(f"tol is {self.tol}; expected a number between 0 and 1. Pass such as 1e-4.")

    @property
    def image_ndim(self) -> int:
        return self.ndim if self.channel_axis is None else -self.channel_axis

    def terms(self) -> tuple[Term, ...]:
        """One term, whose splitting update finds the slopes as well."""
        return (Term(self._norm, self._norm.operator),)

    def rebalanced(self, factor: float) -> TGV:
        """The same with ``factor`` times the ratio."""
        return replace(self, ratio=factor * self.ratio)

    def estimate(self, x: Array) -> Any:
        """The value from above, after a few iterations."""
        x = self._admit("x", x)
        return self._norm.estimate(self._norm.operator(x))

    def prox_from(
        self, v: Array, step: Any, dual: Array | None = None, *, iterations: int | None = None,
        tol: float | None = None, bounds: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Proximal map, started from the splitting variables of a similar problem; see :meth:`Prior.prox_from`."""
        if bounds is not None:
            return super().prox_from(v, step, dual, bounds=bounds)
        v, step = self._admit("v", v), step_size(step)
        most = self.iterations if iterations is None else iterations
        goal = self._norm.accuracy(v) if iterations is None and tol is None else tol
        images = v.reshape((-1, *v.shape[v.ndim - self.image_ndim :]))
        starts = [None] * len(images) if dual is None else self._starts(v, dual)
        found = [self._solve(*pair, step, most, goal) for pair in zip(images, starts, strict=True)]
        gap = max((gap for _, _, gap in found), default=0.0)
        if iterations is None and goal is not None and gap > goal:
            warnings.warn(
                f"the proximal map of {self!r} stopped after {most} iterations at a relative duality gap of {gap:.1e} "
                f"(tol {goal:.0e}). Raise iterations or tol, or lower the step.",
                RuntimeWarning,
                stacklevel=2,
            )
        xp = arrays.namespace(v)
        if not found:
            return v + 0, arrays.zeros((0, *self._dual_shape(v)), v)
        x, q = (xp.stack([item[k] for item in found]) for k in (0, 1))
        return x.reshape(tuple(v.shape)), q.reshape(self._dual_shape(v))

    @property
    def _norm(self) -> SecondOrderNorm:
        K = SecondOrder(self.ndim, self.spacing)
        return SecondOrderNorm(K, self.ratio, self.channel_axis, 1.0, self.tol, self.iterations)

    def _value(self, x: Array) -> Any:
        return self._norm.value(self._norm.operator(x))

    def _prox(self, v: Array, step: Any) -> Array:
        return self.prox_from(v, step)[0]

    def _dual_shape(self, v: Array) -> tuple[int, ...]:
        cut = v.ndim - self.ndim
        return (*v.shape[:cut], self.ndim * (self.ndim + 3) // 2, *v.shape[cut:])

    def _starts(self, v: Array, dual: Array) -> Array:
        if tuple(dual.shape) != self._dual_shape(v):
            raise ShapeError(
                f"dual has shape {tuple(dual.shape)}; v of shape {tuple(v.shape)} has splitting variables of shape "
                f"{self._dual_shape(v)}. Pass what prox_from returned, or None."
            )
        return dual.reshape((-1, *dual.shape[dual.ndim - self.image_ndim - 1 :]))

    def _solve(self, v: Array, q: Any, step: Any, iterations: int, tol: float | None) -> tuple[Array, Array, float]:
        """Image, splitting variables over their scale and the relative gap, for one image; ADMM with identity data."""
        scale = self._scale(v)
        if scale == 0 or (not arrays.is_torch(step) and step == 0):
            return v + 0, arrays.zeros(self._dual_shape(v), v) if q is None else q, 0.0
        norm = self._norm
        gap, rho = math.inf, step / scale
        q = norm.operator(v) if q is None else q * scale
        b = norm.operator.adjoint(2.0 * norm.shrink(q, scale) - q)
        gram = norm.operator.fourier_gram(tuple(v.shape))
        x = v
        for k in range(1, iterations + 1):
            x = arrays.filter_fourier(v + rho * b, 1.0 / (1.0 + arrays.asarray(gram, v) * rho), self.ndim)
            q, b, _ = norm.split_step(x, q, scale, RELAXATION)
            if tol is not None and k % LOOK == 0:
                gap = self._gap(x, v, q, step, scale)
                if not gap > tol:
                    break
        return x, q * (1 / scale), 0.0 if tol is None else gap

    def _gap(self, x: Array, v: Array, q: Array, step: Any, scale: float) -> float:
        """Duality gap over the objective, with the best slopes at hand."""
        if arrays.is_torch(v):
            x, v, q = x.detach(), v.detach(), q.detach()
        step, norm = arrays.to_float(step), self._norm
        split = norm.shrink(q, scale)
        v_split = norm.residual_of(x, 2 * split - q)
        y = norm.feasible((q - split) * (1 / scale))
        primal = step * arrays.to_float(norm.upper(v_split)) + 0.5 * arrays.to_float(arrays.dot(x - v, x - v))
        shadow = v - step * norm.operator.divergence(y)
        dual = 0.5 * arrays.to_float(arrays.dot(v, v) - arrays.dot(shadow, shadow))
        # Where the prior costs nothing the objective is no measure: then the image is.
        return (primal - dual) / max(primal, FLAT * (scale / STEP_OF_SPREAD) ** 2 * arrays.size(v))

    def _scale(self, v: Array) -> float:
        spread = arrays.to_float(arrays.norm(v - v.mean())) / math.sqrt(arrays.size(v))
        return STEP_OF_SPREAD * spread if math.isfinite(spread) else 0.0
