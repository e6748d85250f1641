"""What the solvers of ``data + strength * prior`` share."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.protocols import Term


@dataclass(frozen=True, eq=False)
class Regularised:
    """An algorithm that minimises ``data(A x; y) + strength * prior(x)``.

    Parameters
    ----------
    data : DataTerm
        Data term; gradient methods and Gauss-Newton take nonlinear operators too.
    prior : Prior
        Prior with ``value``, and ``prox`` or ``terms()``.
    strength : float
        Regularisation strength.
    """

    data: Any
    prior: Any
    strength: float

    def at(self, strength: float) -> Self:
        """The same problem at another strength. What was worked out once (spectra, norms) is shared."""
        other = copy.copy(self)
        object.__setattr__(other, "strength", strength)
        return other

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        return self.init(state.x if item is None else state.x[item])

    def init(self, x0: Array) -> Any:
        """The state at the start ``x0``."""
        raise NotImplementedError

    def objective(self, x: Array) -> Any:
        """The function minimised, without the constraints: an iterate may be outside them by a rounding error."""
        return sum(self.parts(x))

    def parts(self, x: Array) -> tuple[Any, Any]:
        """Data term and penalty."""
        return self.data.value(x), self.penalty(x)

    def _prior_prox(self, v: Array, step: float, dual: Any, iterations: int) -> tuple[Array, Any]:
        """Proximal map of ``step * strength * prior``, an iterative one from its last dual variable; and the next."""
        warm = getattr(self.prior, "prox_from", None)
        if warm is None:
            return self.prior.prox(v, step * self.strength), None
        return warm(v, step * self.strength, dual, iterations=iterations)

    def penalty(self, x: Array) -> Any:
        """``strength * prior(x)``, without the constraints."""
        value: Any = 0.0
        for term in self.prior.terms():
            if not is_constraint(term.function):
                # A function whose value takes iterations may have a quicker estimate of it, which will do here.
                measure = getattr(term.function, "estimate", term.function.value)
                value = value + self.strength * measure(term.apply(x))
        return value


@dataclass(frozen=True, eq=False)
class SmoothRegularised(Regularised):
    """The same where data term and prior are smooth, but for bounds on the image.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. Data term and prior have gradients (``priors.Tikhonov``); the prior may include bounds
        (``priors.Box``).

    Raises
    ------
    ArgumentError
        The prior has a term without a gradient.
    """

    def __post_init__(self) -> None:
        require_smooth(self)
        for term in self.prior.terms():
            if not (is_bound(term) or is_smooth(term.function)):
                raise ArgumentError(
                    f"prior is {self.prior!r}, which has no gradient; {type(self).__name__} takes smooth priors, "
                    "such as Tikhonov, and bounds. Pass one, or use a solver for any prior: FISTA, ADMM or PDHG."
                )

    @cached_property
    def _smooth_terms(self) -> tuple[Term, ...]:
        return tuple(t for t in self.prior.terms() if not (is_bound(t) or is_constraint(t.function)))

    @cached_property
    def _bounds(self) -> tuple[Any, ...]:
        return tuple(t.function for t in self.prior.terms() if is_bound(t))

    def _project(self, x: Array) -> Array:
        """Onto the bounds."""
        for bound in self._bounds:
            x = bound.prox(x, 1.0)
        return x

    def _value_at(self, x: Array, Ax: Array) -> Any:
        return self.data.loss(Ax) + self.penalty(x)

    def _gradient_at(self, x: Array, Ax: Array) -> Array:
        gradient = self.data.operator.vjp(x, self.data.loss_gradient(Ax))
        for term in self._smooth_terms:
            gradient = arrays.axpy(self.strength, term.adjoint(term.function.gradient(term.apply(x))), gradient)
        return gradient


def is_constraint(function: Any) -> bool:
    """Whether a function is 0 on a set and infinite outside: no strength multiplies it."""
    return bool(getattr(function, "is_constraint", False))


def is_bound(term: Term) -> bool:
    """Whether a term holds each pixel between two values."""
    return term.operator is None and hasattr(term.function, "bounds")


def is_smooth(function: Any) -> bool:
    """Whether a function has a gradient; that of a multiple is what it multiplies."""
    return callable(getattr(type(getattr(function, "prior", function)), "gradient", None))


def require_smooth(algorithm: Regularised) -> None:
    """Refuse a data term without a gradient."""
    if not getattr(algorithm.data, "smooth", True):
        name, data = type(algorithm).__name__, type(algorithm.data).__name__
        raise ArgumentError(
            f"the data term is {data}, which has no gradient; {name} takes smooth ones. "
            "Use ADMM, PDHG or LinearisedADMM, which take its proximal map."
        )


def require_curvature(algorithm: Regularised) -> None:
    """Refuse a data term without a bound of its curvature."""
    if algorithm.data.curvature() is None:
        name, data = type(algorithm).__name__, type(algorithm.data).__name__
        raise ArgumentError(
            f"the data term is {data}, whose curvature has no bound; {name} takes its step from one. "
            "Use FISTA or GradientDescent, which find the step as they go, or ADMM or PDHG, which need none."
        )


def require_strength(problem: Regularised) -> None:
    """Refuse no strength, where data and prior are weighed against each other."""
    if not arrays.to_float(problem.strength) > 0:
        raise ArgumentError(
            f"strength is {problem.strength} with the prior {problem.prior!r}; {type(problem).__name__} weighs data "
            "and prior against each other, and takes no problem without one. Name a prior, or use solver='cgls'."
        )
