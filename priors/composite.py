"""Priors ``g(x) = f(K x)`` whose proximal map is computed by accelerated proximal gradient on its dual problem.

    minimise over x    1/2 |x - v|^2 + step * f(K x)             within lower <= x <= upper
    maximise over y    min_x 1/2 |x - v|^2 + step * (<K x, y> - f*(y))

With ``t = 1 / (step |K|^2)`` one step is ``y <- prox_{t f*}(r + t K x(r))``, ``x(r) = clip(v - step K^H r)`` and r the
extrapolated y; by Moreau's identity ``prox_{t f*}(u) = u - t prox_{f / t}(u / t)``. The duality gap is
``step * (f(K x) + f*(y) - <K x, y>)``.

Beck and Teboulle 2009; momentum of Chambolle and Dossal 2015; restart of O'Donoghue and Candes 2015.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from priors.base import Prior, step_size
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError
from solvers.protocols import Term
from solvers.validation import positive_int

LOOK = 10  # iterations between two looks at the duality gap
UNBOUNDED = (-math.inf, math.inf)


class Composite(Prior):
    """``g(x) = f(K x)``; a subclass gives ``_composition()``, and fields ``tol`` and ``iterations``.

    ``f`` has ``value``, ``prox`` and ``conjugate`` (its conjugate at a point where that is finite), ``K`` is callable
    with ``adjoint`` and ``norm()``.
    """

    tol: float | None
    iterations: int

    def _composition(self) -> Term:
        """``f`` and ``K`` for the proximal map."""
        raise NotImplementedError

    def terms(self) -> tuple[Term, ...]:
        return (self._composition(),)

    def estimate(self, x: Array) -> Any:
        """:meth:`Prior.estimate` of ``f`` at ``K x``."""
        term = self._composition()
        return term.function.estimate(term.apply(self._admit("x", x)))

    def prox_from(
        self, v: Array, step: Any, dual: Array | None = None, *, iterations: int | None = None,
        tol: float | None = None, bounds: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Proximal map, started from a dual variable ``y`` (of the shape of ``K v``); see :meth:`Prior.prox_from`."""
        v, step = self._admit("v", v), step_size(step)
        most = self.iterations if iterations is None else iterations
        goal = self._accuracy(v) if iterations is None and tol is None else tol
        limits = UNBOUNDED if bounds is None else self._limits(v, bounds)
        term = self._composition()
        images = v.reshape((-1, *v.shape[v.ndim - self.image_ndim :]))
        batch = tuple(v.shape[: v.ndim - self.image_ndim])
        duals = self._start(term, v, dual, batch)
        found = [self._solve(term, *pair, step, limits, most, goal) for pair in zip(images, duals, strict=True)]
        gap = max((gap for _, _, gap in found), default=0.0)
        if iterations is None and goal is not None and gap > goal:
            warnings.warn(
                f"the proximal map of {self!r} stopped after {most} iterations at a relative duality gap of {gap:.1e} "
                f"(tol {goal:.0e}). Raise iterations or tol, or lower the step.",
                RuntimeWarning,
                stacklevel=2,
            )
        if not found:
            return v + 0, duals.reshape((*batch, *duals.shape[1:]))
        xp = arrays.namespace(v)
        x, y = (xp.stack([item[k] for item in found]) for k in (0, 1))
        return x.reshape(tuple(v.shape)), y.reshape((*batch, *y.shape[1:]))

    def _value(self, x: Array) -> Any:
        term = self._composition()
        return term.function.value(term.apply(x))

    def _prox(self, v: Array, step: Any) -> Array:
        return self.prox_from(v, step)[0]

    def _accuracy(self, v: Array) -> float:
        if self.tol is not None:
            return self.tol
        return 1e-4 if arrays.eps(v) > 1e-10 else 1e-6

    def _limits(self, v: Array, bounds: tuple[Any, Any]) -> tuple[float, float]:
        if arrays.is_complex(v):
            raise DTypeError(f"v has dtype {v.dtype}; bounds take real images, complex numbers have no order.")
        if any(np.ndim(bound) for bound in bounds):
            raise OperatorError(
                f"the proximal map of {self!r} takes numbers as bounds, not arrays. "
                "Use a solver that splits the terms, such as ADMM or primal-dual."
            )
        return float(bounds[0]), float(bounds[1])

    def _start(self, term: Term, v: Array, dual: Array | None, batch: tuple[int, ...]) -> Array:
        """Dual variables, one for each image of a flat batch."""
        like = term.apply(arrays.zeros((1, *v.shape[len(batch) :]), v))
        shape = tuple(like.shape[1:])
        if dual is None:
            return arrays.zeros((math.prod(batch), *shape), like)
        if tuple(dual.shape) != batch + shape:
            raise ShapeError(
                f"dual has shape {tuple(dual.shape)}; v of shape {tuple(v.shape)} has dual variables of shape "
                f"{batch + shape}. Pass the one that prox_from returned, or None."
            )
        return dual.reshape((-1, *shape))

    def _solve(
        self, term: Term, v: Array, y: Array, step: Any, bounds: tuple[float, float], iterations: int, tol: float | None
    ) -> tuple[Array, Array, float]:
        """Image, dual variable and the relative duality gap, for one image."""
        if not arrays.is_torch(step) and step == 0:
            return _primal(term, v, y, 0.0, bounds), y, 0.0
        ascent = 1.0 / (step * (term.norm() or 1.0) ** 2)
        previous, best, age, gap = y, -math.inf, 0, math.inf
        for k in range(1, iterations + 1):
            r = y + (age / (age + 5)) * (y - previous)
            u = r + ascent * term.apply(_primal(term, v, r, step, bounds))
            y, previous = u - ascent * term.function.prox(u * (1 / ascent), 1 / ascent), y
            age += 1
            if tol is not None and k % LOOK == 0:
                gap, dual_objective = self._certificate(term, v, y, arrays.to_float(step), bounds)
                if not gap > tol:
                    break
                age, best = (0 if dual_objective < best else age), dual_objective
        return _primal(term, v, y, step, bounds), y, 0.0 if tol is None else gap

    def _certificate(self, term: Term, v: Array, y: Array, step: float, bounds: Any) -> tuple[float, float]:
        """Relative duality gap, as far as rounding lets it be seen, and the dual objective."""
        if arrays.is_torch(v):
            v, y = v.detach(), y.detach()
        x = _primal(term, v, y, step, bounds)
        Kx = term.apply(x)
        total = arrays.to_float(term.function.value(Kx))
        gap = step * (total + arrays.to_float(term.function.conjugate(y)) - arrays.to_float(arrays.dot(Kx, y)))
        primal = step * total + 0.5 * arrays.to_float(arrays.dot(x - v, x - v))
        rounding = 10 * arrays.eps(v) * step * term.norm() * arrays.to_float(abs(x).sum())
        return (gap - rounding) / max(primal, 1e-300), primal - gap

    def _check_accuracy(self) -> None:
        if self.tol is not None and not 0 < self.tol < 1:
            raise ArgumentError(f"tol is {self.tol}; expected a number between 0 and 1. Pass such as 1e-4.")
        positive_int("iterations", self.iterations)


def check_channel_axis(axis: Any, ndim: int) -> None:
    """Refuse a channel axis that does not lie before the spatial ones."""
    if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
        raise DTypeError(f"channel_axis is {axis!r}; expected a negative integer or None.")
    if axis is not None and axis >= -ndim:
        raise ArgumentError(
            f"channel_axis is {axis}; expected at most {-ndim - 1}, before the {ndim} spatial axes. "
            "Move the channels there, for example with numpy.moveaxis."
        )


def _primal(term: Term, v: Array, y: Array, step: Any, bounds: tuple[float, float]) -> Array:
    """``clip(v - step K^H y)``."""
    x = v - step * term.adjoint(y)
    return x if bounds == UNBOUNDED else x.clip(*bounds)
