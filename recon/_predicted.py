"""Predicted risk of the measurement, or of the image: see :mod:`recon.selection`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon._nonlinear import carried_to_image, is_nonlinear
from recon._selection_problem import Problem, background, measured_count
from recon._warm import Settling, Warm
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array

# strength * prior(x) at the best strength, over the variance of the noise that is fitted: a constant, and a part that
# grows with the share of the measurement that is fitted (of the problems of benchmarks.strength).
BALANCE, BALANCE_FITTED = 1.4, 1.8
NOTICEABLE = 0.3  # gain over the best trial, relative to the noise fitted, up to which a parabola is believed
OVERFITS = 0.8  # effective degrees of freedom over measurements from which the residual tells too small a noise level
INTERPOLATES = 0.95  # effective degrees of freedom over measurements from which GCV says nothing
SETTLED = 0.2  # change of the risk still to come, over that of the noise fitted, at which a solve ends
FLAT = 1e-6  # differences of a spectrum below which it is a number
PASSED = 1e-2  # squared transfer, of the largest, below which a frequency counts as not passed


@dataclass(frozen=True)
class Figures:
    """What one strength gives; squares and products are divided by the number of measurements."""

    residual: float  # |y - A x|^2
    divergence: float  # b . (A x(y + eps b) - A x(y)) / eps
    image_residual: float  # both again, with the weights that carry them over to the image
    image_divergence: float
    unseen: float = 0.0  # |y' - A' x|^2 of the samples held out, over their number


class Predicted(Warm):
    """Predicted risk by SURE or generalised cross-validation, with a Monte-Carlo divergence."""

    item = 0
    least = math.inf  # risk of the best strength so far

    def __init__(self, problem: Problem, rng: np.random.Generator):
        y = problem.y
        self.count = measured_count(problem.operator, y)
        self.weights, probe, self.gain = _probe(problem, rng)
        self.filter: Any = None if isinstance(problem.noise, Poisson) else _to_image(problem)
        xp = arrays.namespace(y)
        super().__init__(problem, problem.operator, xp.stack([y, y + probe]), xp.stack([problem.x0] * 2))
        # Products with A x are products with x: one application in place of one at every look.
        self.back = None if is_nonlinear(problem.operator) else self._carried(problem.operator.adjoint)

    def _carried(self, adjoint: Callable[[Array], Array]) -> tuple[Array, Array]:
        """What a change of the image is multiplied by for the divergence, as it is and carried over to the image."""
        plain = adjoint(self.gain)
        return plain, plain if self.filter is None else adjoint(self._filtered(self.gain))

    def measure(self, strength: float) -> Figures:
        settling = Settling(self._figures, self._risk, self.pace, self.least)
        self.solve(strength, settling)
        found: Figures = settling.result()
        if self.problem.race:
            self.least = min(self.least, self._risk(found)[0])
        return found

    def _risk(self, figures: Figures) -> tuple[float, float]:
        """Of one strength alone; and what change of it matters."""
        variance = self._variance(figures)
        self.noticed = SETTLED * self.problem.slack * 2 * variance * figures.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return gcv(figures), self.noticed
        return figures.image_residual + 2 * variance * figures.image_divergence, self.noticed

    def _figures(self, images: Array) -> Figures:
        return self._judged(images, self.misfit(self.problem, images[0]))

    def _judged(self, images: Array, misfit: Array) -> Figures:
        residual = self._mean(misfit, self.weights * misfit)
        divergence, image_divergence = self._divergences(images)
        image_residual = residual if self.filter is None else self._mean(misfit, self._filtered(misfit))
        return Figures(residual, divergence, image_residual, image_divergence)

    def _divergences(self, images: Array) -> tuple[float, float]:
        if self.back is not None:
            change = images[1] - images[0]
            plain = self._mean(self.back[0], change)
            return plain, plain if self.filter is None else self._mean(self.back[1], change)
        fit, shifted = self.operator(images)
        plain = self._mean(self.gain, shifted - fit)
        return plain, plain if self.filter is None else self._mean(self.gain, self._filtered(shifted - fit))

    @staticmethod
    def misfit(problem: Problem, image: Array) -> Array:
        """``y - A x``, zero where nothing is measured."""
        misfit = problem.y - (problem.operator(image) + background(problem.noise))
        if problem.operator.sampling is None or not background(problem.noise):
            return misfit
        return misfit * arrays.asarray(problem.operator.sampling, misfit)

    def rank(self, tried: list[Figures]) -> list[float]:
        validated = [gcv(f) for f in tried]
        best = tried[int(np.argmin(validated))]
        self.divergence, self.level = best.divergence, level_of(best)
        variance = self._variance(best)
        self.noticeable = NOTICEABLE * self.problem.slack * 2 * variance * best.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return validated
        risks = [f.image_residual + 2 * variance * f.image_divergence for f in tried]
        if not self.problem.sigma_known and self.filter is not None:
            self.best = tried[int(np.argmin(risks))]
        return risks

    def propose(self, strength: float, figures: Figures) -> float | None:
        """Where the prior would be in balance with the noise fitted."""
        penalty = getattr(self.family, "penalty", None)
        if penalty is None:
            return None
        return self._in_balance(strength, figures, arrays.to_float(penalty(self.kept[-1][0].x[self.item])))

    def _in_balance(self, strength: float, figures: Figures, penalty: float) -> float | None:
        """Where ``strength * prior(x) = c sigma^2 div``, with the penalty at another strength."""
        if not figures.divergence < INTERPOLATES:
            return None
        balance = BALANCE + BALANCE_FITTED * figures.divergence
        # By the level in the residual though it may be known: that is what balances a prior that is too weak or strong.
        variance = 1.0 if isinstance(self.problem.noise, Poisson) else level_of(figures) ** 2
        fitted = balance * variance * figures.divergence * self.count
        if not penalty > 0 < fitted:
            return None
        proposal = strength * fitted / penalty
        return max(proposal, strength) if figures.divergence > OVERFITS else proposal

    def _variance(self, figures: Figures) -> float:
        if isinstance(self.problem.noise, Poisson):
            return 1.0
        return float(self.problem.noise.sigma**2) if self.problem.sigma_known else level_of(figures) ** 2

    def _mean(self, a: Array, b: Array) -> float:
        return arrays.to_float(arrays.dot(a, b)) / self.count

    def _filtered(self, array: Array) -> Array:
        if isinstance(self.filter, float):
            return self.filter * array
        if callable(self.filter):
            return self.filter(array)
        return arrays.filter_fourier(array, self.filter, len(self.operator.in_shape))


def gcv(figures: Figures) -> float:
    """Generalised cross-validation; infinite where the data are interpolated, zero residual over zero."""
    if figures.divergence >= INTERPOLATES:
        return math.inf
    return figures.residual / (1 - figures.divergence) ** 2


def level_of(figures: Figures) -> float:
    """Noise level by the residual."""
    return math.sqrt(figures.residual / (1 - min(figures.divergence, INTERPOLATES)))


def _to_image(problem: Problem) -> Any:
    """Spectrum of ``(A A^H / |A|^2 + PASSED)^-1`` where the operator is a convolution, a number if flat, else None.

    Where it is not linear, the same by its derivative at the first guess, as a callable.
    """
    operator = problem.operator
    if is_nonlinear(operator):
        return carried_to_image(operator, problem.x0, PASSED)
    transfer = operator.transfer()
    if transfer is None:
        return as_if_seen_alike(operator, problem.y)
    gram = np.abs(transfer) ** 2
    weights = 1.0 / (gram / gram.max() + PASSED)
    return float(weights.flat[0]) if np.ptp(weights) < FLAT else weights


def as_if_seen_alike(operator: Any, y: Array) -> Callable[[Array], Array] | None:
    """The same with the diagonal of ``A^H A`` in place of it, where pixels are seen more or less strongly."""
    strength = operator.sensitivity()
    if strength is None or np.ptp(strength) < FLAT * strength.max():
        return None
    relative = strength / strength.max()
    weights = arrays.asarray(1.0 / (strength.max() * (relative + PASSED) ** 2), y)
    return lambda array: operator(weights * operator.adjoint(array))


def _probe(problem: Problem, rng: np.random.Generator) -> tuple[Any, Array, Array]:
    """Weights of the residual, the probe added to y, and the array whose product with the response is the divergence.

    It is ``sum_i d(A x)_i / d y_i``, for Poisson counts ``sum_i weight_i variance_i d(A x)_i / d y_i``.
    """
    y, operator = problem.y, problem.operator
    signs = _signs(y, operator, rng)
    if isinstance(problem.noise, Poisson):
        precision = expected_precision(problem)
        counts = arrays.namespace(y).clip(y, min=0.0)
        # Not beyond zero: scaled counts may be smaller than one.
        width = arrays.namespace(y).minimum(0.1 * counts**0.5, counts)
        return precision, width * signs, signs * (counts / (width + (counts == 0))) * precision
    level = problem.noise.sigma
    if not level > 0:  # noiseless: any small probe shows the divergence
        level = 1e-3 * arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    width = 0.1 * level
    return 1.0, width * signs, signs * (1.0 / width)


def expected_precision(problem: Problem) -> float:
    """Inverse of the mean variance of photon counts.

    One for all: errors then weigh alike in light and shade, as they do in the image, and weights that would follow the
    counts themselves would bias the risk.
    """
    return 1.0 / max(arrays.to_float(problem.y.sum()) / measured_count(problem.operator, problem.y), 1.0)


def _signs(y: Array, operator: Any, rng: np.random.Generator) -> Array:
    """Random signs where something was measured, in the real and the imaginary part where y is complex."""
    shape = tuple(y.shape)
    signs = 2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0
    if arrays.is_complex(y):
        signs = signs + 1j * (2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0)
    if operator.sampling is not None:
        signs = signs * operator.sampling
    return arrays.asarray(signs, y)
