"""Priors: what every one of them does, and how they combine.

A subclass writes its mathematics, ``_value`` and ``_prox``. Checks of arguments, sums and multiples live here, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, OperatorError, ShapeError
from solvers.protocols import Term
from solvers.validation import as_inexact, positive_float


class Prior:
    """Convex function ``g(x)`` of an image, known by its value and its proximal map.

    Leading axes beyond those of one image are a batch: the value adds up, the proximal map acts on each. Priors are
    frozen, keep no state between calls and never change their input. ``strength * prior`` and ``prior + prior`` are
    priors again.
    """

    is_constraint: ClassVar[bool] = False
    """Whether ``g`` is 0 on a set and infinite outside; a strength then has no effect."""

    @property
    def image_ndim(self) -> int:
        """Least number of axes an image has."""
        return 0

    def value(self, x: Array) -> Any:
        """``g(x)``: a float for numpy, a 0-d tensor with gradients for torch."""
        return self._value(self._admit("x", x))

    def estimate(self, x: Array) -> Any:
        """The value, or where that takes long something quicker near it: for histories and first guesses."""
        return self.value(x)

    def prox(self, v: Array, step: Any) -> Array:
        """Proximal map ``argmin_x step * g(x) + 1/2 |x - v|^2``.

        Parameters
        ----------
        v : array
            Image, ``(..., *image)``.
        step : float
            Step size, at least 0 (for torch also a 0-d tensor, with gradients).

        Returns
        -------
        array
            Of the shape and dtype of ``v``.
        """
        return self._prox(self._admit("v", v), step_size(step))

    def terms(self) -> tuple[Term, ...]:
        """The terms ``g_i(K_i x)`` whose sum is this prior, each with a cheap proximal map of ``g_i``."""
        return (Term(self, None),)

    def prox_from(
        self, v: Array, step: Any, dual: Any = None, *, iterations: int | None = None, tol: float | None = None,
        bounds: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Any]:  # fmt: skip
        """Proximal map, for priors that iterate also from a dual variable and within bounds.

        Parameters
        ----------
        v, step
            See :meth:`prox`.
        dual : array, optional
            What the call for a similar problem returned. It does not depend on the unit of the image and stays useful
            when the step changes. None starts afresh.
        iterations, tol : optional
            Iterations to do, accuracy to stop at; see the prior. Closed forms need neither.
        bounds : (lower, upper), optional
            Constraint on the image, ``lower <= x <= upper``.

        Returns
        -------
        x : array
            The proximal map.
        dual : array or None
            A start for the next call; None for closed forms.
        """
        if bounds is not None:
            raise OperatorError(
                f"the proximal map of {self!r} within bounds has no closed form. "
                "Use a solver that splits the terms, such as ADMM or primal-dual."
            )
        return self.prox(v, step), None

    def _value(self, x: Array) -> Any:
        raise NotImplementedError

    def _prox(self, v: Array, step: Any) -> Array:
        raise NotImplementedError

    def _admit(self, name: str, x: Any) -> Array:
        """Return ``x`` as floating point, or say what is wrong with it."""
        x = as_inexact(name, x)
        if x.ndim < self.image_ndim:
            raise ShapeError(
                f"{name} has shape {tuple(x.shape)}; {self!r} takes images of at least {self.image_ndim} axes. "
                "Pass such an array, or build the prior for fewer axes."
            )
        return x

    def __add__(self, other: Any) -> Prior:
        if not isinstance(other, Prior):
            return NotImplemented
        return Sum((*_parts(self), *_parts(other)))

    def __mul__(self, factor: Any) -> Prior:
        if isinstance(factor, (bool, np.bool_)) or not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        number = float(factor)
        if not math.isfinite(number) or number <= 0:
            raise ArgumentError(
                f"factor is {number}; expected a finite number above 0. Leave the prior out if it must not count."
            )
        return self._scaled(number)

    __rmul__ = __mul__

    def _scaled(self, factor: float) -> Prior:
        return self if self.is_constraint or factor == 1.0 else Scaled(self, factor)

    def rebalanced(self, factor: float) -> Prior | None:
        """The prior with its last weight times ``factor``, the others unchanged; None where it has but one."""
        return None


@dataclass(frozen=True, repr=False)
class Scaled(Prior):
    """``factor * prior``."""

    prior: Prior
    factor: float

    @property
    def image_ndim(self) -> int:
        return self.prior.image_ndim

    @property
    def is_quadratic(self) -> bool:
        """Whether the function is quadratic."""
        return getattr(self.prior, "is_quadratic", False)

    def estimate(self, x: Array) -> Any:
        """:meth:`Prior.estimate` of the prior, times the factor."""
        return self.factor * self.prior.estimate(x)

    def gradient(self, x: Array) -> Array:
        """Gradient, where the prior scaled has one."""
        return self.factor * self.prior.gradient(x)  # type: ignore[attr-defined]

    def curvature(self) -> float:
        """Bound of the second derivative, where the prior scaled has one."""
        return self.factor * float(self.prior.curvature())  # type: ignore[attr-defined]

    def _value(self, x: Array) -> Any:
        return self.factor * self.prior.value(x)

    def _prox(self, v: Array, step: Any) -> Array:
        return self.prior.prox(v, step * self.factor)

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """:meth:`Prior.prox_from` of the prior, the step times the factor."""
        return self.prior.prox_from(v, step * self.factor, dual, **options)

    def terms(self) -> tuple[Term, ...]:
        return tuple(Term(self.factor * term.function, term.operator) for term in self.prior.terms())

    def _scaled(self, factor: float) -> Prior:
        return self.prior._scaled(self.factor * factor)

    def rebalanced(self, factor: float) -> Prior | None:
        """The prior rebalanced, scaled."""
        other = self.prior.rebalanced(factor)
        return None if other is None else other._scaled(self.factor)

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.prior!r}"


@dataclass(frozen=True, repr=False)
class Sum(Prior):
    """``sum_i prior_i``.

    Its proximal map is known for constraints alone and for one further prior within bounds; otherwise use ``terms()``.
    """

    parts: tuple[Any, ...]

    @property
    def image_ndim(self) -> int:
        return max(part.image_ndim for part in self.parts)

    @property
    def is_constraint(self) -> bool:  # type: ignore[override]
        """Whether every part is a constraint."""
        return all(part.is_constraint for part in self.parts)

    def estimate(self, x: Array) -> Any:
        """Sum of the estimates."""
        return sum(part.estimate(x) for part in self.parts)

    def _value(self, x: Array) -> Any:
        return sum(part.value(x) for part in self.parts)

    def _prox(self, v: Array, step: Any) -> Array:
        return self.prox_from(v, step)[0]

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """:meth:`Prior.prox_from` of the one part that is not a bound, within the bounds."""
        bounds = [part for part in self.parts if hasattr(part, "bounds")]
        others = [part for part in self.parts if not hasattr(part, "bounds")]
        if len(others) > 1:
            raise OperatorError(
                f"the proximal map of {self!r} has no closed form. Use a solver that splits the terms, such as ADMM or "
                "primal-dual, or keep one prior and bounds."
            )
        box = reduce(lambda a, b: a.intersect(b), bounds)
        return others[0].prox_from(v, step, dual, bounds=box.bounds, **options) if others else (box.prox(v, step), None)

    def terms(self) -> tuple[Term, ...]:
        return tuple(term for part in self.parts for term in part.terms())

    def _scaled(self, factor: float) -> Prior:
        return Sum(tuple(part._scaled(factor) for part in self.parts))

    def rebalanced(self, factor: float) -> Prior | None:
        """The last part that is no constraint times ``factor``, or the only one rebalanced."""
        free = [i for i, part in enumerate(self.parts) if not part.is_constraint]
        if not free:
            return None
        last = self.parts[free[-1]]
        other = last._scaled(factor) if len(free) > 1 else last.rebalanced(factor)
        return None if other is None else Sum((*self.parts[: free[-1]], other, *self.parts[free[-1] + 1 :]))

    def __repr__(self) -> str:
        return f"({' + '.join(map(repr, self.parts))})"


def _parts(prior: Prior) -> tuple[Prior, ...]:
    return prior.parts if isinstance(prior, Sum) else (prior,)


def step_size(step: Any) -> Any:
    """Return ``step`` as a Python float (tensors pass), or say what is wrong with it."""
    return step if arrays.is_torch(step) else positive_float("step", step, zero=True)
