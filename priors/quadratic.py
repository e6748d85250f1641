"""Tikhonov regularisation: a squared norm of the image, or of a linear function of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError
from solvers.protocols import Term


@dataclass(frozen=True)
class Tikhonov(Prior):
    """``g(x) = 1/2 |K x|^2``.

    ``prox(v, step) = v / (1 + step)`` without an operator. With one that is diagonal in Fourier,
    ``prox(v, step) = (I + step K^H K)^-1 v`` takes two transforms; with another one, use ``terms()``.

    Parameters
    ----------
    operator : object, optional
        ``K``: callable, with ``adjoint``, ``norm()`` and ``fourier_gram(shape)`` (None where ``K^H K`` is not a
        periodic convolution), such as ``priors.Gradient(periodic=True)``. None is the identity.

    References
    ----------
    Tikhonov, 1963.
    """

    operator: Any = None

    is_quadratic: ClassVar[bool] = True

    def gradient(self, x: Array) -> Array:
        """``K^H K x``."""
        return x if self.operator is None else self.operator.adjoint(self.operator(x))

    def _value(self, x: Array) -> Any:
        z = x if self.operator is None else self.operator(x)
        return 0.5 * arrays.dot(z, z)

    def _prox(self, v: Array, step: Any) -> Array:
        if self.operator is None:
            return v * (1.0 / (1.0 + step))
        gram = Term(self, self.operator).fourier_gram(tuple(v.shape))
        if gram is None:
            raise OperatorError(
                f"the proximal map of {self!r} has no closed form. Use a solver that splits the terms, such as ADMM or "
                "primal-dual."
            )
        return arrays.filter_fourier(v, 1.0 / (1.0 + step * arrays.asarray(gram, v)), gram.ndim)

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """Proximal map, without an operator also within bounds: pixels do not depend on each other there."""
        bounds = options.get("bounds")
        if bounds is None or self.operator is not None:
            return super().prox_from(v, step, dual, **options)
        from priors.constraints import Box

        return Box(*bounds).prox(self.prox(v, step), step), None

    def terms(self) -> tuple[Term, ...]:
        return (Term(Tikhonov(), self.operator),)


@dataclass(frozen=True)
class Zero(Prior):
    """``g(x) = 0``: no prior, plain least squares or maximum likelihood."""

    is_constraint: ClassVar[bool] = True
    is_quadratic: ClassVar[bool] = True

    def gradient(self, x: Array) -> Array:
        """Zero."""
        return 0.0 * x

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """The identity, or the projection onto the bounds."""
        from priors.constraints import Box

        bounds = options.get("bounds")
        return (v if bounds is None else Box(*bounds).prox(v, step)), None

    def _value(self, x: Array) -> Any:
        return arrays.dot(x, x) * 0.0

    def _prox(self, v: Array, step: Any) -> Array:
        return v
