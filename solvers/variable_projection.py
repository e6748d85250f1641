"""Few unknown parameters of a forward model that measures more than image and parameters have unknowns.

    minimise  |F(x; p) - y|^2   over image x and parameters p

Linearised at the last pair, with ``A = dF/dx`` and ``B = dF/dp``, the image is eliminated: what of ``B dp`` an image
could explain does not count,

    P   = I - A (A^H A + mu I)^-1 A^H
    dp  = (B^H P B)^-1 B^H P (y - F(x; p)),      dx = (A^H A + mu I)^-1 A^H (y - F(x; p) - B dp)

Image and parameters move at once, so a gain that image and lens share is not passed to and fro between them: a few
steps do where alternating takes hundreds. Golub and Pereyra 1973; Kaufman 1975.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.krylov import CG
from solvers.loop import steps_from

DAMPING = 1e-6  # mu, over the largest squared gain of the operator
INNER = 30  # conjugate gradients for the image at most, where there is no closed form
ENOUGH = 1e-4  # of the residual of the normal equations, at which they end
RANK = 1e-10  # eigenvalue, of the largest, below which parameters cannot be told apart
FITS = 10  # steps at most where the image is known
EXPLAINED = 1e-9  # relative fall of the misfit at which they end
HALVED = 8  # times a step is halved before it is given up


@dataclass(frozen=True, slots=True)
class ProjectionState:
    """State of :class:`VariableProjection`."""

    x: Array  # image
    values: dict[str, Any]  # parameters by name
    misfit: float  # |F(x; p) - y|^2


@dataclass(frozen=True, eq=False)
class VariableProjection:
    """Gauss-Newton for image and parameters with the image eliminated.

    Parameters
    ----------
    family : object
        As for :class:`~solvers.alternating.PALM`; tens of parameters, whatever their names.
    y : array
        Measurement.
    start : dict of str to array
        First values of the parameters.
    """

    family: Any
    y: Array
    start: dict[str, Any]

    def init(self, x0: Array) -> ProjectionState:
        operator = self.family.with_values(**self.start)
        x = x0 + self._image(operator.linearize(x0), self.y - operator(x0))
        return ProjectionState(x, dict(self.start), self._misfit(x, self.start))

    def step(self, state: ProjectionState, k: int) -> ProjectionState:
        operator = self.family.with_values(**state.values)
        residual = self.y - operator(state.x)
        A = operator.linearize(state.x)
        columns = _Columns(self.family, state.x, state.values)
        gradient = columns.adjoint(self._projected(A, residual))
        normal = np.stack([columns.adjoint(self._projected(A, b)) for b in columns], axis=1)
        change = np.linalg.lstsq(normal, gradient, rcond=RANK)[0]
        for halvings in range(HALVED):
            after = self._moved(state, A, residual, columns, change * 0.5**halvings)
            if after is not None and after.misfit <= state.misfit:
                return after
        return state

    def _moved(
        self, state: ProjectionState, A: Any, residual: Array, columns: _Columns, change: np.ndarray
    ) -> ProjectionState | None:
        values = columns.moved(change)
        try:
            x = state.x + self._image(A, residual - columns.forward(change))
            values, x = self.family.gauge(x, **values)
            return ProjectionState(x, values, self._misfit(x, values))
        except ValueError:  # a value that the model does not take, as a gain below zero
            return None

    def _misfit(self, x: Array, values: dict[str, Any]) -> float:
        misfit = self.family.with_values(**values)(x) - self.y
        return arrays.to_float(arrays.dot(misfit, misfit))

    def _projected(self, A: Any, r: Array) -> Array:
        return r - A(self._image(A, r))

    def _image(self, A: Any, r: Array) -> Array:
        """``(A^H A + mu I)^-1 A^H r``."""
        back = A.adjoint(r)
        size = arrays.to_float(arrays.norm(back))
        if size == 0:
            return back
        gain = arrays.to_float(arrays.norm(A(back))) / size
        damping = max(DAMPING * gain**2, 1e-30)
        if getattr(A, "has_solve_shifted", False):
            return A.solve_shifted(back, damping)
        system = CG(lambda x: A.gram(x) + damping * x, back)
        state = system.init(arrays.zeros(tuple(back.shape), back))
        for state in islice(steps_from(system, state), INNER):  # noqa: B020
            if arrays.to_float(state.rz) <= (ENOUGH * size) ** 2:
                break
        return state.x


def fit_parameters(family: Any, y: Array, x: Array, start: dict[str, Any]) -> dict[str, Any]:
    """Gauss-Newton for the parameters alone; one step where the model is linear in all of them together."""
    values, best = start, np.inf
    for _ in range(FITS):
        columns = _Columns(family, x, values)
        residual = y - family.with_values(**values)(x)
        misfit = arrays.to_float(arrays.dot(residual, residual))
        if not misfit < (1 - EXPLAINED) * best:
            break
        best = misfit
        normal = np.stack([columns.adjoint(b) for b in columns], axis=1)
        values = columns.moved(np.linalg.lstsq(normal, columns.adjoint(residual), rcond=RANK)[0])
    return values


class _Columns:
    """``B``: the derivative by all parameters, one after another."""

    def __init__(self, family: Any, x: Array, values: dict[str, Any]):
        self.values = {name: np.asarray(arrays.to_numpy(value), dtype=float) for name, value in values.items()}
        self.parts = {
            name: family.in_parameter(name, x, **values).linearize(value) for name, value in self.values.items()
        }
        self.unknowns = family.unknowns

    def __iter__(self) -> Any:
        for name, value in self.values.items():
            for unit in np.eye(value.size):
                yield self.parts[name](unit.reshape(value.shape))

    def adjoint(self, r: Array) -> np.ndarray:
        return np.concatenate([np.asarray(part.adjoint(r)).reshape(-1) for part in self.parts.values()])

    def forward(self, change: np.ndarray) -> Array:
        pieces = self._pieces(change)
        whole: Any = 0.0
        for name, part in self.parts.items():
            whole = whole + part(pieces[name])
        return whole

    def moved(self, change: np.ndarray) -> dict[str, np.ndarray]:
        pieces = self._pieces(change)
        return {name: self.unknowns[name].admissible(value + pieces[name]) for name, value in self.values.items()}

    def _pieces(self, change: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum([value.size for value in self.values.values()])[:-1]
        split = np.split(change, ends)
        return {name: part.reshape(self.values[name].shape) for name, part in zip(self.values, split, strict=True)}
