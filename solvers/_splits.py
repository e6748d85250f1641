"""One splitting ``z = K x`` of :mod:`solvers.admm`: its variables and how they move.

z is the split variable and u the dual variable divided by the penalty. Where the function has a fused update
(``split_step``), only ``q = z + u`` is kept, since ``z = prox(q)``: such an update is bound by memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from solvers import arrays
from solvers.arrays import Array
from solvers.protocols import Term

BALANCED = 2.0  # imbalance that is left alone


class Pair(NamedTuple):
    """Variables of a split that are both kept, since its proximal map is not to be evaluated twice."""

    z: Array
    u: Array


class Moved(NamedTuple):
    """What an update of a split gives."""

    variables: Any  # a Pair, or the array q
    b: Array  # K^H (z - u), for the next right-hand side
    imbalance: float  # by how much the penalty should grow; 1 where it was not measured


@dataclass(frozen=True, eq=False)
class Split:
    """One splitting ``z = K x`` with the proximal map of its function."""

    term: Term
    prox: Callable[[Array, float], Array]  # (v, step) -> z
    tunable: bool  # whether the strength multiplies it: not the data, nor a constraint
    gram: Any  # eigenvalues of K^H K over the frequencies, or None

    @property
    def _fused(self) -> Any:
        return getattr(self.term.function, "split_step", None)

    def _shrunk(self, q: Array, step: float) -> Array:
        """z from q: the proximal map, unless the fused update minimises over more than the image."""
        return getattr(self.term.function, "split_prox", self.prox)(q, step)

    def start(self, x0: Array, step: float) -> tuple[Any, Array]:
        """Variables at the start ``x0``, and ``K^H (z - u)``."""
        Kx = self.term.apply(x0)
        if self._fused is None:
            return Pair(Kx, arrays.zeros(Kx.shape, Kx)), self.term.adjoint(Kx)
        return Kx, self.term.adjoint(2.0 * self._shrunk(Kx, step) - Kx)

    def move(self, x: Array, variables: Any, step: float, relaxation: float, *, measure: bool) -> Moved:
        """The updates of z and u for a new image."""
        if self._fused is not None:
            q, b, squares = self._fused(x, variables, step, relaxation)
            return Moved(q, b, imbalance_of(*squares) if measure else 1.0)
        z, u = variables
        Kx = self.term.apply(x)
        v = arrays.lincomb(relaxation, Kx, 1 - relaxation, z)
        z_new = self.prox(v + u, step)
        u_new = u + v - z_new
        b = self.term.adjoint(z_new - u_new)
        imbalance = imbalance_of(*map(_square, (Kx - z_new, z_new - z, z_new, u_new))) if measure else 1.0
        return Moved(Pair(z_new, u_new), b, imbalance)

    def rescale(self, variables: Any, step: float, factor: float) -> tuple[Any, Array]:
        """Variables and ``K^H (z - u)`` after the penalty has grown by ``factor``; ``step`` is that before."""
        if self._fused is None:
            z, u = variables[0], variables[1] * (1.0 / factor)
            return Pair(z, u), self.term.adjoint(z - u)
        z = self._shrunk(variables, step)
        u = (variables - z) * (1.0 / factor)
        return z + u, self.term.adjoint(z - u)


def item_of(variables: Any, item: int) -> Any:
    """The variables of one image of a batch."""
    return Pair(variables.z[item], variables.u[item]) if isinstance(variables, Pair) else variables[item]


def imbalance_of(primal: float, dual: float, split: float, scaled: float) -> float:
    """Square root of relative primal over relative dual residual: ``(|Kx - z| / |z|) / (|z - z before| / |u|)``."""
    numerator, denominator = primal * scaled, dual * split
    return (numerator / denominator) ** 0.25 if numerator > 0 and denominator > 0 else 1.0


def correction(imbalance: float) -> float:
    """The factor of a penalty for an imbalance: 1 where it is small, and never large."""
    return 1.0 if 1 / BALANCED < imbalance < BALANCED else min(max(imbalance, 0.1), 10.0)


def _square(x: Array) -> float:
    return arrays.to_float(arrays.dot(x, x))
