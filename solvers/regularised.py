"""What the solvers of ``data + strength * prior`` share."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

from solvers.arrays import Array


@dataclass(frozen=True, eq=False)
class Regularised:
    """An algorithm that minimises ``data(A x; y) + strength * prior(x)``.

    Parameters
    ----------
    data : DataTerm
        Data term with a linear operator.
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

    def objective(self, x: Array) -> Any:
        """The function minimised, without the constraints: an iterate may be outside them by a rounding error."""
        value = self.data.value(x)
        for term in self.prior.terms():
            if not getattr(term.function, "is_constraint", False):
                value = value + self.strength * term.function.value(term.apply(x))
        return value
