"""Data terms: how far a reconstruction is from the measurement.

A data term is ``loss(A x; y)``, or ``loss(F(x); y)``. ``loss`` works on measurements, so that a solver may split there;
``value`` and ``gradient`` work on images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError

LEAST_START = 0.01  # of an image of counts, relative to its mean
NEAR = 1e-3  # of the image, in which a nonlinear operator is taken for linear where it gives no derivative


@dataclass(frozen=True)
class DataTerm:
    """``loss(A x; y)``.

    Parameters
    ----------
    operator : Operator
        Forward operator ``A``.
    y : array
        Measurement, ``(..., *operator.out_shape)``.
    """

    operator: Any
    y: Array

    quadratic = False
    """Whether the loss is ``1/2 |w - y|^2`` without weights, so that closed forms apply."""

    smooth = True
    """Whether the loss has a gradient; otherwise ``loss_gradient`` is a subgradient, and solvers use ``loss_prox``."""

    separable = True
    """Whether the loss is a sum over samples, so that ``loss_prox`` takes a step for each of them."""

    def loss(self, w: Array) -> Any:
        """Value at the predicted measurement ``w = A x``."""
        raise NotImplementedError

    def loss_gradient(self, w: Array) -> Array:
        """Gradient with respect to the predicted measurement."""
        raise NotImplementedError

    def loss_prox(self, v: Array, step: Any) -> Array:
        """``argmin_w step * loss(w) + 1/2 |w - v|^2``."""
        raise NotImplementedError

    def curvatures(self, w: Array) -> Array:
        """Curvature of the loss at each sample, positive: the second derivative, or what stands for it.

        That is the Fisher information for counts, and the weight in a sum of squares for the robust losses.
        """
        raise ArgumentError(
            f"the data term is {type(self).__name__}, which has no curvature; Gauss-Newton methods take smooth ones. "
            "Use ADMM or PDHG for a linear operator."
        )

    def curvature(self) -> float | None:
        """Largest curvature of the loss (its gradient's Lipschitz constant), or None where there is no bound."""
        return None

    def part(self, operator: Any, take: Callable[[Array], Array]) -> Self:
        """The term of a part of the measurement: ``operator`` measures it, ``take`` picks it."""
        return replace(self, operator=operator, y=take(self.y))

    def start(self, x0: Array) -> Array:
        """An image near ``x0`` from which gradients can start."""
        return x0

    @property
    def linear(self) -> bool:
        """Whether the operator has an adjoint, so that ``A (x + d) = A x + A d``."""
        return hasattr(self.operator, "adjoint")

    def change(self, x: Array, Ax: Array, d: Array) -> Array:
        """The measurement's derivative ``J(x) d``, for ``Ax = A x``; by a difference where the operator gives none."""
        if self.linear or self.operator.has_jvp:
            return self.operator.jvp(x, d)
        size = arrays.to_float(arrays.norm(x)) or 1.0
        step = NEAR * size / max(arrays.to_float(arrays.norm(d)), 1e-30)
        return (self.operator(arrays.axpy(step, d, x)) - Ax) / step

    def value(self, x: Array) -> Any:
        """``loss(A x)``."""
        return self.loss(self.operator(x))

    def gradient(self, x: Array) -> Array:
        """Gradient with respect to the image: ``J(x)^H loss'(A x)``."""
        return self.operator.vjp(x, self.loss_gradient(self.operator(x)))


@dataclass(frozen=True)
class LeastSquares(DataTerm):
    """``1/2 sum_i weights_i |(A x - y)_i|^2``: Gaussian noise of variance ``1 / weights``.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`.
    weights : array, optional
        Non-negative, broadcastable to ``y``. None is one everywhere.
    """

    weights: Array | None = None

    @property
    def quadratic(self) -> bool:  # type: ignore[override]
        """True without weights."""
        return self.weights is None

    def part(self, operator: Any, take: Callable[[Array], Array]) -> Self:
        """The term of a part of the measurement, with its weights."""
        part = super().part(operator, take)
        return part if self.weights is None else replace(part, weights=take(self.weights + 0 * self.y))

    def loss(self, w: Array) -> Any:
        r = w - self.y
        return 0.5 * arrays.dot(r, self._weighted(r))

    def loss_gradient(self, w: Array) -> Array:
        return self._weighted(w - self.y)

    def curvatures(self, w: Array) -> Array:
        ones = 1 + 0 * abs(self.y)
        return ones if self.weights is None else self.weights * ones

    def loss_prox(self, v: Array, step: Any) -> Array:
        if self.weights is None:
            return (v + step * self.y) / (1 + step)
        return (v + step * self.weights * self.y) / (1 + step * self.weights)

    def curvature(self) -> float:
        return 1.0 if self.weights is None else arrays.to_float(self.weights.max())

    def _weighted(self, r: Array) -> Array:
        return r if self.weights is None else self.weights * r


@dataclass(frozen=True)
class PoissonLikelihood(DataTerm):
    """``sum_i (w + b)_i - y_i log (w + b)_i`` with ``w = A x``: photon counts ``y ~ Poisson(A x + b)``.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`; ``y`` are counts.
    background : float
        Expected counts ``b >= 0`` that do not come from the image.

    Notes
    -----
    The value is the Kullback-Leibler divergence, zero at ``w + b = y``: the likelihood up to a constant of ``y``.
    """

    background: float = 0.0

    def start(self, x0: Array) -> Array:
        """Positive throughout: the slope of the likelihood is infinite where no photon is expected but one came."""
        mean = arrays.to_float(abs(x0).mean())
        if mean > 0:
            return arrays.namespace(x0).clip(x0, min=LEAST_START * mean)
        likely = self.operator(1 + arrays.zeros(x0.shape, x0))
        counts = arrays.to_float(self.y.sum()) / max(arrays.to_float(likely.sum()), 1e-30)
        return max(counts, 1e-30) + x0

    def loss(self, w: Array) -> Any:
        xp = arrays.namespace(w)
        mean = xp.clip(w + self.background, min=arrays.eps(w))
        counts = xp.clip(self.y, min=0.0)
        log_ratio = xp.log(mean / xp.clip(counts, min=arrays.eps(w)))
        return (mean - counts - xp.where(counts > 0, counts * log_ratio, xp.zeros_like(mean))).sum()

    def loss_gradient(self, w: Array) -> Array:
        xp = arrays.namespace(w)
        return 1 - self.y / xp.clip(w + self.background, min=arrays.eps(w))

    def curvatures(self, w: Array) -> Array:
        xp = arrays.namespace(w)
        mean = w + self.background
        return 1 / xp.clip(mean, min=LEAST_START * arrays.to_float(abs(mean).mean()) + arrays.eps(w))

    def loss_prox(self, v: Array, step: Any) -> Array:
        # The root of t^2 - (v + b - step) t - step y = 0 with t = w + b >= 0.
        xp = arrays.namespace(v)
        centre = v + self.background - step
        return 0.5 * (centre + xp.sqrt(centre * centre + 4 * step * self.y)) - self.background
