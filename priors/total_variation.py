"""Total variation of images, volumes and signals; of real, complex and multi-channel ones."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.base import Prior, step_size
from priors.differences import Gradient
from priors.gradient_projection import UNBOUNDED, PackedProblem, exact_lines, packed_value, solve_generic
from priors.group_norm import GroupNorm
from priors.layout import Layout
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError
from solvers.protocols import Term


@dataclass(frozen=True)
class TotalVariation(Prior):
    """Total variation ``g(x) = sum_i |(K x)_i|``, ``K`` being the forward differences of neighbouring pixels.

    Isotropic: ``|(K x)_i| = sqrt(sum_d |x[i + e_d] - x[i]|^2 / spacing_d^2)``; anisotropic: the sum of the moduli. The
    last difference along an axis is 0. Complex images count the modulus of their differences. With a channel axis,
    the squares of all channels are summed inside the root (Bresson and Chan 2008), so that edges of all channels align.

    Parameters
    ----------
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.
    isotropic : bool
        Whether the directions are coupled.
    channel_axis : int, optional
        Negative axis of coupled channels, before the spatial ones: -3 for ``(..., channels, rows, columns)``. None
        treats all leading axes as a batch.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    tol : float, optional
        Accuracy of the proximal map: its relative duality gap (gap over objective, unchanged by scaling image and step
        together). None is 1e-4 in single and 1e-6 in double precision.
    iterations : int
        Most iterations of the proximal map; a warning says if they do not suffice.

    References
    ----------
    Rudin, Osher and Fatemi 1992; proximal map: Beck and Teboulle 2009, for real signals Johnson 2013 (exact).
    """

    ndim: int = 2
    isotropic: bool = True
    channel_axis: int | None = None
    spacing: Any = None
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        K = Gradient(self.ndim, self.spacing)
        object.__setattr__(self, "spacing", K.spacing)
        axis = self.channel_axis
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
            raise DTypeError(f"channel_axis is {axis!r}; expected a negative integer or None.")
        if axis is not None and axis >= -self.ndim:
            raise ArgumentError(
                f"channel_axis is {axis}; expected at most {-self.ndim - 1}, before the {self.ndim} spatial axes. "
                "Move the channels there, for example with numpy.moveaxis."
            )
        if self.tol is not None and not 0 < self.tol < 1:
            raise ArgumentError(f"tol is {self.tol}; expected a number between 0 and 1. Pass such as 1e-4.")
        if self.iterations < 1:
            raise ArgumentError(f"iterations is {self.iterations}; expected at least 1. Pass a positive integer.")

    @property
    def image_ndim(self) -> int:
        return self.ndim if self.channel_axis is None else -self.channel_axis

    def terms(self) -> tuple[Term, ...]:
        """One term, the norm of the periodic gradient in which differences that wrap around do not count."""
        K = Gradient(self.ndim, self.spacing, periodic=True)
        return (Term(GroupNorm(K, self.isotropic, self.channel_axis), K),)

    def prox_from(
        self, v: Array, step: Any, dual: Array | None = None, *, iterations: int | None = None,
        tol: float | None = None, bounds: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Proximal map, started from a dual variable.

        Parameters
        ----------
        v : array
            Image, ``(..., *spatial)``.
        step : float
            Step size.
        dual : array, optional
            Dual variable of a similar problem, as returned; ``(..., ndim, *spatial)`` with ``|dual_i| <= 1``. It does
            not depend on the unit of the image and stays useful when the step changes. None is zero.
        iterations : int, optional
            Iterations to do; with ``tol`` the most. None iterates until ``tol``.
        tol : float, optional
            Relative duality gap to stop at. None is that of the prior, or no stopping where ``iterations`` is given.
        bounds : (float, float), optional
            Constraint ``lower <= x <= upper`` on real images, which acts inside the iteration.

        Returns
        -------
        x, dual : array
            Image and dual variable, ``x = v - step K^H dual`` (within the bounds).
        """
        v, step = self._admit("v", v), step_size(step)
        limits = UNBOUNDED if bounds is None else self._limits(v, bounds)
        most = self.iterations if iterations is None else iterations
        goal = self._tolerance(v) if iterations is None and tol is None else tol
        x, dual, gap = self._solve(v, step, dual, limits, most, goal)
        if iterations is None and goal is not None and gap > goal:
            warnings.warn(
                f"the proximal map of {self!r} stopped after {most} iterations at a relative duality gap of {gap:.1e} "
                f"(tol {goal:.0e}). Raise iterations or tol, or lower the step.",
                RuntimeWarning,
                stacklevel=2,
            )
        return x, dual

    def _value(self, x: Array) -> Any:
        if arrays.is_torch(x):
            return self._groups.norms(self._groups.operator(x)).sum()
        packed = Layout(self.ndim, self.channel_axis).pack(x)
        return packed_value(packed, self._groups.operator.scales, self.isotropic)

    def _prox(self, v: Array, step: Any) -> Array:
        return self.prox_from(v, step)[0]

    def _limits(self, v: Array, bounds: tuple[Any, Any]) -> tuple[float, float]:
        if arrays.is_complex(v):
            raise DTypeError(f"v has dtype {v.dtype}; bounds take real images, complex numbers have no order.")
        if any(np.ndim(bound) for bound in bounds):
            raise OperatorError(
                f"the proximal map of {self!r} takes numbers as bounds, not arrays. "
                "Use a solver that splits the terms, such as ADMM or primal-dual."
            )
        return float(bounds[0]), float(bounds[1])

    @property
    def _groups(self) -> GroupNorm:
        return GroupNorm(Gradient(self.ndim, self.spacing), self.isotropic, self.channel_axis)

    def _tolerance(self, v: Array) -> float:
        if self.tol is not None:
            return self.tol
        return 1e-4 if arrays.eps(v) > 1e-10 else 1e-6

    def _solve(
        self, v: Array, step: Any, dual: Any, bounds: tuple[float, float], iterations: int, tol: float | None
    ) -> tuple[Array, Array, float]:
        """Image, dual variable and the relative gap left above the tolerance."""
        dual = self._start(v, dual)
        if not arrays.is_torch(step) and step == 0:
            return (v + 0) if bounds == UNBOUNDED else v.clip(*bounds), dual, 0.0
        if arrays.is_torch(v):
            return solve_generic(v, dual, step, self._groups, bounds, iterations, tol)
        return self._solve_packed(v, float(step), dual, bounds, iterations, tol)

    def _solve_packed(
        self, v: np.ndarray, step: float, dual: np.ndarray, bounds: tuple[float, float], iterations: int, tol: Any
    ) -> tuple[np.ndarray, np.ndarray, float]:
        layout, scales = Layout(self.ndim, self.channel_axis), self._groups.operator.scales
        packed = layout.pack(v)
        if self.ndim == 1 and packed.shape[1] == 1:
            x, y, gap = exact_lines(packed, step * scales[0], bounds)
        else:
            start = layout.pack(dual, directions=True)
            x, y, gap = PackedProblem(step, scales, self.isotropic, bounds).solve(packed, start, iterations, tol)
        return layout.unpack(x, v.shape), layout.unpack(y, dual.shape, directions=True), gap

    def _start(self, v: Array, dual: Array | None) -> Array:
        """A dual variable to start from, zero where differences are."""
        shape = (*v.shape[: v.ndim - self.ndim], self.ndim, *v.shape[v.ndim - self.ndim :])
        if dual is None:
            return arrays.zeros(shape, v)
        if tuple(dual.shape) != shape:
            raise ShapeError(
                f"dual has shape {tuple(dual.shape)}; v of shape {tuple(v.shape)} has dual variables of shape {shape}. "
                "Pass the one that prox_from returned, or None."
            )
        if dual.dtype != v.dtype:
            raise DTypeError(f"dual has dtype {dual.dtype}; v has {v.dtype}. Convert it to that of v.")
        return dual
