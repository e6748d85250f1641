"""The battery behind :func:`recon.check_solver`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recon._figures import Figure, random_array, relative
from recon.operators.wrappers import from_matrix
from solvers import arrays
from solvers.protocols import Term

STRENGTH = 0.5


class HalfSquare:
    """``1/2 |x|^2``."""

    is_quadratic = True
    smooth = True

    def value(self, x: Any) -> Any:
        return 0.5 * arrays.dot(x, x)

    def gradient(self, x: Any) -> Any:
        return x

    def prox(self, v: Any, step: Any) -> Any:
        return v / (1.0 + step)

    def terms(self) -> tuple[Term, ...]:
        return (Term(self),)


@dataclass(frozen=True)
class Trial:
    """A solver and the least squares problem it is tried on."""

    build: Callable[[Any, Any, Any, float], Any]
    rng: np.random.Generator
    max_iter: int

    @cached_property
    def matrix(self) -> np.ndarray:
        return random_array(self.rng, (16, 12), np.float64) / 4.0

    @cached_property
    def y(self) -> np.ndarray:
        return random_array(self.rng, (16,), np.float64)

    @cached_property
    def minimiser(self) -> np.ndarray:
        return np.linalg.solve(self.normal, self.matrix.T @ self.y)

    @cached_property
    def normal(self) -> np.ndarray:
        return self.matrix.T @ self.matrix + STRENGTH * np.eye(12)

    def algorithm(self, y: Any) -> Any:
        return self.build(from_matrix(self.matrix), y, HalfSquare(), STRENGTH)


def check_state(t: Trial) -> Iterator[Figure]:
    algorithm = t.algorithm(t.y)
    state = algorithm.init(np.zeros(12))
    frozen = dataclasses.is_dataclass(state) and getattr(state, "__dataclass_params__").frozen  # noqa: B009
    yield Figure("state is not a frozen dataclass", float(not frozen), 0.0, "Decorate it @dataclass(frozen=True).")
    yield Figure("state has no image x", float(not hasattr(state, "x")), 0.0, "Name the field of the image x.")


def check_purity(t: Trial) -> Iterator[Figure]:
    algorithm = t.algorithm(t.y)
    state = algorithm.step(algorithm.init(np.zeros(12)), 0)
    before = copy.deepcopy(state)
    first, second = algorithm.step(state, 1), algorithm.step(state, 1)
    yield Figure("step changes its state", float(not _same(before, state)), 0.0, "Write to fresh arrays.")
    yield Figure("step differs on a second call", float(not _same(first, second)), 0.0, "Keep all state in the state.")


def _same(a: Any, b: Any) -> bool:
    """Whether two states hold equal values."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(_same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def check_convergence(t: Trial) -> Iterator[Figure]:
    remedy = f"The iterates do not reach the minimiser within {t.max_iter} steps: check signs, steps and the scaling."
    reached = _run(t, t.y, np.zeros(12))
    yield Figure("distance to the minimiser", relative(reached, t.minimiser), 1e-6, remedy)


def check_unrolling(t: Trial) -> Iterator[Figure]:
    """Gradients through the steps reach that of the minimiser, ``d <x, r> / dy = A (A^T A + strength)^-1 r``.

    The limit is compared, not the first steps: adaptive step sizes may be taken for constants on the way.
    """
    import torch

    r = random_array(t.rng, (12,), np.float64)
    y = torch.from_numpy(t.y.copy()).requires_grad_()
    (gradient,) = torch.autograd.grad(_run(t, y, torch.zeros(12, dtype=torch.float64)), y, torch.from_numpy(r.copy()))
    expected = t.matrix @ np.linalg.solve(t.normal, r)
    remedy = "Update with operators, + - * and solvers.arrays only, so that torch sees every operation."
    yield Figure("gradient through the steps", relative(gradient.numpy(), expected), 1e-4, remedy)


def _run(t: Trial, y: Any, x0: Any) -> Any:
    """Iterate to the minimiser or to the bound."""
    algorithm = t.algorithm(y)
    state = algorithm.init(x0)
    for k in range(t.max_iter):
        state = algorithm.step(state, k)
        if relative(arrays.to_numpy(state.x), t.minimiser) <= 1e-8:
            break
    return state.x


CHECKS = (check_state, check_purity, check_convergence, check_unrolling)
