"""Sparsity of an image, or of a linear function of it: an l1 norm, of single numbers or of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.composite import Composite
from priors.group_norm import shrinkage
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.protocols import Term
from solvers.validation import as_inexact, require_finite


@dataclass(frozen=True, eq=False, repr=False)
class Sparsity(Composite):
    """``g(x) = sum_g weight_g |(K x)_g|``: few numbers, or few groups of them, describe the image.

    Without an operator ``prox(v, step)`` shrinks each group by ``step * weight``. With one it is computed by iteration;
    ADMM splits at ``K x``, in closed form where ``K^H K`` is a periodic convolution. Complex numbers count their
    modulus.

    Parameters
    ----------
    operator : LinearOperator, optional
        ``K``, such as a frame, a filter or a finite difference: one of :mod:`recon.operators` or of this package. None
        is the identity.
    groups : int or tuple of int, optional
        Negative axes of ``K x`` whose entries form a group, to vanish together. None treats every number by itself.
    weights : float or array, optional
        Non-negative factors that broadcast to ``K x`` (with length 1 along ``groups``); 0 leaves numbers free.
    tol, iterations
        Accuracy of the proximal map (relative duality gap) and its most iterations, where there is an operator.

    References
    ----------
    Tibshirani 1996; groups: Yuan and Lin 2006; proximal map: :mod:`priors.composite`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Sparsity
    >>> Sparsity().prox(np.array([3.0, -0.5]), 1.0)
    array([ 2., -0.])
    >>> Sparsity(groups=-1).value(np.array([[3.0, 4.0], [0.0, 0.0]]))
    5.0
    """

    operator: Any = None
    groups: Any = None
    weights: Any = 1.0
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        if self.operator is not None and not all(hasattr(self.operator, name) for name in ("adjoint", "norm")):
            raise DTypeError(
                f"operator is {self.operator!r}; expected a linear operator with adjoint and norm, or None. "
                "Pass such as recon.operators.from_matrix(matrix)."
            )
        object.__setattr__(self, "groups", _group_axes(self.groups))
        weights = np.asarray(arrays.to_numpy(as_inexact("weights", self.weights)))
        require_finite("weights", weights, "Pass finite factors.")
        if np.iscomplexobj(weights) or (weights < 0).any():
            raise ArgumentError(
                f"weights are {self.weights!r}; expected real numbers of at least 0. Pass such factors."
            )
        object.__setattr__(self, "weights", weights.astype(np.float64))
        self._check_accuracy()

    @property
    def image_ndim(self) -> int:
        if self.operator is None:
            return max([self.weights.ndim, *(-axis for axis in self.groups or ())])
        shape = getattr(self.operator, "in_shape", None)
        return len(shape) if shape is not None else int(self.operator.ndim)

    def terms(self) -> tuple[Term, ...]:
        """One term, the norm itself, of ``K x``."""
        return (self._composition(),)

    def conjugate(self, y: Array) -> Any:
        """The conjugate function of the norm where it is finite: 0."""
        return 0.0

    def estimate(self, x: Array) -> Any:
        """The value."""
        return self.value(x)

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """Proximal map, closed without an operator; see :meth:`Prior.prox_from`."""
        if self.operator is not None:
            return super().prox_from(v, step, dual, **options)
        bounds = options.get("bounds")
        if bounds is not None and (self.groups or any(np.ndim(b) for b in bounds)):
            return super(Composite, self).prox_from(v, step, bounds=bounds)
        x = self.prox(v, step)
        return x if bounds is None else x.clip(*self._limits(x, bounds)), None

    def _composition(self) -> Term:
        return Term(Sparsity(None, self.groups, self.weights), self.operator)

    def _value(self, x: Array) -> Any:
        if self.operator is not None:
            return super()._value(x)
        total = (self._sizes(x) * arrays.asarray(self.weights, x)).sum()
        return total if arrays.is_torch(x) else float(total)

    def _prox(self, v: Array, step: Any) -> Array:
        if self.operator is not None:
            return super()._prox(v, step)
        sizes = self._sizes(v)
        if not self.weights.ndim:
            return v * shrinkage(sizes, step * float(self.weights))
        least = step * arrays.asarray(self.weights, v)
        return v * (1 - least / arrays.namespace(v).maximum(sizes, least + 1e-30))

    def _sizes(self, x: Array) -> Array:
        if arrays.is_torch(x):
            return arrays.namespace(x).linalg.vector_norm(x, dim=self.groups, keepdim=True) if self.groups else x.abs()
        if not self.groups:
            return abs(x)
        squares = x.real**2 + x.imag**2 if np.iscomplexobj(x) else x * x
        return np.sqrt(squares.sum(axis=self.groups, keepdims=True))

    def __repr__(self) -> str:
        parts = [] if self.operator is None else [repr(self.operator)]
        parts += [f"groups={self.groups}"] if self.groups else []
        return f"Sparsity({', '.join(parts)})"


def _group_axes(groups: Any) -> tuple[int, ...] | None:
    if groups is None:
        return None
    axes = tuple(groups) if isinstance(groups, (tuple, list)) else (groups,)
    if any(isinstance(axis, bool) or not hasattr(axis, "__index__") for axis in axes):
        raise DTypeError(f"groups is {groups!r}; expected negative integers. Pass axes such as -1.")
    if not axes or any(axis >= 0 for axis in axes) or len(set(axes)) < len(axes):
        raise ArgumentError(f"groups is {groups!r}; expected different negative axes, since leading axes are a batch.")
    return tuple(int(axis) for axis in axes)
