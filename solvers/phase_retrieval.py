"""Phase retrieval: a linear field ``A x`` of which only the magnitudes ``b`` are measured.

Two sets of fields are searched for a common point:

    M = {z : |z| = b}             P_M z = b z / |z|
    C = {A x : x in X}            P_C z = A image(z),   image(z) = P_X(A^H z / d),   d the diagonal of A^H A

with X all images, the real or the non-negative ones; a support is what ``A`` takes in. With ``R = 2 P - 1``:

    error reduction     z <- P_C P_M z
    hybrid input-output z <- z + P_C((1 + beta) P_M z - z) - beta P_M z
    relaxed averaged alternating reflections
                        z <- beta/2 (R_C R_M z + z) + (1 - beta) P_M z

Where ``A^H A`` is not diagonal, amplitude flow descends on ``1/2 | |A x| - b |^2`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError

DARK = 1e-9  # of the brightest pixel: what is lit less than this cannot be seen
KEPT = 0.25  # fraction of the samples, the strongest, that a spectral start listens to
POWER_STEPS = 30
RESTARTING = 0.0  # cosine between step and gradient above which momentum is dropped


@dataclass(frozen=True, slots=True)
class FieldState:
    """State of the projection methods."""

    x: Array  # image of the last field with the measured magnitudes
    z: Array  # field


@dataclass(frozen=True, eq=False)
class Projections:
    """What the projection methods share.

    Parameters
    ----------
    field : LinearOperator
        ``A``, with a diagonal ``A^H A``.
    magnitudes : array
        ``b``, real and not negative.
    real : bool
        Whether the image is real.
    constraint : object with ``prox``, optional
        Further constraint on each pixel of the image, such as ``priors.NonNegative()``.

    Raises
    ------
    ArgumentError
        ``A^H A`` is not diagonal.
    """

    field: Any
    magnitudes: Array
    real: bool = False
    constraint: Any = None

    def __post_init__(self) -> None:
        if self.field.diagonal_gram() is None:
            raise ArgumentError(
                f"the normal operator of field {self.field!r} is not known to be diagonal; {type(self).__name__} "
                "divides by it. Use AmplitudeFlow, which takes any linear operator."
            )

    def init(self, x0: Array) -> FieldState:
        return FieldState(x0, self.field(x0))

    def step(self, state: FieldState, k: int) -> FieldState:
        raise NotImplementedError

    def measured(self, z: Array) -> Array:
        """``P_M z``."""
        return with_magnitudes(z, self.magnitudes)

    def consistent(self, z: Array) -> Array:
        """``P_C z``."""
        return self.field(self.image(z))

    def image(self, z: Array) -> Array:
        """The image whose field is nearest to ``z``."""
        x = self.field.adjoint(z) / arrays.asarray(self._light, z)
        if self.real:
            x = x.real
        return x if self.constraint is None else self.constraint.prox(x, 1.0)

    @cached_property
    def _light(self) -> np.ndarray:
        light = self.field.diagonal_gram()
        return np.maximum(light, DARK * light.max())

    def objective(self, x: Array) -> Any:
        return amplitude_loss(self.field(x), self.magnitudes)


class ErrorReduction(Projections):
    """Alternating projections: from one local minimum's slope to its bottom.

    Parameters
    ----------
    field, magnitudes, real, constraint
        See :class:`Projections`.

    References
    ----------
    R. W. Gerchberg, W. O. Saxton, "A practical algorithm for the determination of phase from image and diffraction
    plane pictures", Optik 35 (1972); J. R. Fienup, "Phase retrieval algorithms: a comparison", Appl. Opt. 21 (1982).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> from solvers import ErrorReduction, unroll
    >>> unroll(ErrorReduction(2 * Identity((2,)), np.array([2.0, 6.0])), np.array([1.0, -1.0]), 1)
    array([ 1., -3.])
    """

    def step(self, state: FieldState, k: int) -> FieldState:
        x = self.image(self.measured(state.z))
        return FieldState(x, self.field(x))


@dataclass(frozen=True, eq=False)
class HIO(Projections):
    """Hybrid input-output; with a non-negative image, hybrid projection reflection.

    Leaves local minima, and does not settle where noise keeps the two sets apart: alternate it with
    :class:`ErrorReduction`.

    Parameters
    ----------
    field, magnitudes, real, constraint
        See :class:`Projections`.
    beta : float
        Feedback.

    References
    ----------
    J. R. Fienup, "Phase retrieval algorithms: a comparison", Appl. Opt. 21 (1982); H. H. Bauschke, P. L. Combettes,
    D. R. Luke, "Hybrid projection-reflection method for phase retrieval", J. Opt. Soc. Am. A 20 (2003).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> from solvers import HIO, unroll
    >>> unroll(HIO(2 * Identity((2,)), np.array([2.0, 6.0])), np.array([1.0, -1.0]), 1)
    array([ 1., -3.])
    """

    beta: float = 0.9

    def step(self, state: FieldState, k: int) -> FieldState:
        z, beta = state.z, self.beta
        m = self.measured(z)
        z = z + self.consistent((1 + beta) * m - z) - beta * m
        return FieldState(self.image(self.measured(z)), z)


@dataclass(frozen=True, eq=False)
class RAAR(Projections):
    """Relaxed averaged alternating reflections.

    Leaves local minima, and settles near the nearest pair of points where noise keeps the two sets apart.

    Parameters
    ----------
    field, magnitudes, real, constraint
        See :class:`Projections`.
    beta : float
        Share of the reflections.

    References
    ----------
    D. R. Luke, "Relaxed averaged alternating reflections for diffraction imaging", Inverse Probl. 21 (2005).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> from solvers import RAAR, unroll
    >>> unroll(RAAR(2 * Identity((2,)), np.array([2.0, 6.0])), np.array([1.0, -1.0]), 1)
    array([ 1., -3.])
    """

    beta: float = 0.9

    def step(self, state: FieldState, k: int) -> FieldState:
        z, beta = state.z, self.beta
        m = self.measured(z)
        z = beta * (z + self.consistent(2 * m - z) - m) + (1 - beta) * m
        return FieldState(self.image(self.measured(z)), z)


@dataclass(frozen=True, slots=True)
class FlowState:
    """State of :class:`AmplitudeFlow`."""

    x: Array  # iterate
    previous: Array  # the iterate before
    momentum: float  # t of Nesterov's sequence, one at a restart


@dataclass(frozen=True, eq=False)
class AmplitudeFlow:
    """Accelerated descent on ``1/2 | |A x| - b |^2``, for any linear ``A``.

    The step ``1 / |A|^2`` lowers the loss with certainty: ``|A x - P_M(A v)|^2 / 2`` touches it at ``v`` and is nowhere
    below. Momentum is dropped where it points uphill. With ``doubt``, samples whose predicted magnitude is small beside
    the measured one, whose phase is likely wrong, count less: that leads past local minima, and is for the start only.

    Parameters
    ----------
    field : LinearOperator
        ``A``.
    magnitudes : array
        ``b``, real and not negative.
    real : bool
        Whether the image is real.
    constraint : object with ``prox``, optional
        Further constraint on each pixel of the image.
    doubt : float
        0 for the loss itself; samples are weighted by ``|A x| / (|A x| + doubt b)``.

    References
    ----------
    G. Wang, G. B. Giannakis, Y. C. Eldar, "Solving systems of random quadratic equations via truncated amplitude flow",
    IEEE Trans. Inf. Theory 64 (2018); G. Wang et al., "Phase retrieval via reweighted amplitude flow", IEEE Trans.
    Signal Process. 66 (2018): the weights.

    Examples
    --------
    >>> from recon.operators import from_matrix
    >>> from solvers import AmplitudeFlow, solve
    >>> flow = AmplitudeFlow(from_matrix(np.diag([1.0, 2.0])), np.array([1.0, 6.0]))
    >>> solve(flow, np.array([0.5, -1.0]), tol=1e-6).image.round(3)
    array([ 1., -3.])
    """

    field: Any
    magnitudes: Array
    real: bool = False
    constraint: Any = None
    doubt: float = 0.0

    def init(self, x0: Array) -> FlowState:
        return FlowState(x0, x0, 1.0)

    def step(self, state: FlowState, k: int) -> FlowState:
        t = (1 + (1 + 4 * state.momentum**2) ** 0.5) / 2
        v = arrays.axpy((state.momentum - 1) / t, state.x - state.previous, state.x)
        x = self._descended(v)
        uphill = arrays.to_float(arrays.dot(v - x, x - state.x)) > 0
        return FlowState(x, state.x, 1.0 if uphill else t)

    def _descended(self, v: Array) -> Array:
        z = self.field(v)
        misfit = z - with_magnitudes(z, self.magnitudes)
        if self.doubt:
            size = abs(z)
            misfit = misfit * (size / (size + self.doubt * self.magnitudes + arrays.eps(size)))
        back = self.field.adjoint(misfit)
        x = arrays.axpy(-1 / self._curvature, back.real if self.real else back, v)
        return x if self.constraint is None else self.constraint.prox(x, 1.0)

    @cached_property
    def _curvature(self) -> float:
        return float(self.field.norm()) ** 2

    def objective(self, x: Array) -> Any:
        return amplitude_loss(self.field(x), self.magnitudes)


def with_magnitudes(z: Array, magnitudes: Array) -> Array:
    """``b z / |z|``, zero where ``z`` is."""
    size = abs(z)
    return z * (magnitudes / (size + (size == 0)))


def amplitude_loss(z: Array, magnitudes: Array) -> Any:
    """``1/2 | |z| - b |^2``."""
    misfit = abs(z) - magnitudes
    return arrays.dot(misfit, misfit) / 2


def spectral_start(field: Any, magnitudes: Array, rng: Any = None, *, real: bool = False) -> Array:
    """Image that correlates most with the strongest samples: leading eigenvector of ``A^H W A / d``.

    ``W`` holds the square roots of the strongest quarter of the magnitudes and zeros elsewhere. The scale is that of
    the measurement; the phase, or sign, is arbitrary.

    Parameters
    ----------
    field : LinearOperator
        ``A``.
    magnitudes : array, shape (..., *field.out_shape)
        ``b``, real and not negative.
    rng : int or numpy.random.Generator, optional
        Source of the random first vector; by default the same for every call.
    real : bool
        Whether the image is real.

    References
    ----------
    G. Wang et al., "Phase retrieval via reweighted amplitude flow", IEEE Trans. Signal Process. 66 (2018).

    Examples
    --------
    >>> from recon.operators import from_matrix
    >>> A = from_matrix(np.diag([1.0, 1.0, 1.0, 1.0]))
    >>> abs(spectral_start(A, np.array([0.0, 0.0, 0.0, 2.0]), 0, real=True)).round(3)
    array([0., 0., 0., 2.])
    """
    axes = tuple(range(-len(field.out_shape), 0))
    weights = _strongest(arrays.to_numpy(magnitudes), axes)
    light = field.diagonal_gram()
    scale = 1.0 if light is None else 1 / np.maximum(light, DARK * light.max())
    weights = arrays.asarray(weights, magnitudes)
    scale = arrays.asarray(scale, magnitudes)
    batch = tuple(magnitudes.shape[: magnitudes.ndim - len(axes)])
    x = random_image(batch + tuple(field.in_shape), magnitudes, rng, real=real)
    within = tuple(range(-len(field.in_shape), 0))
    for _ in range(POWER_STEPS):
        x = scale * field.adjoint(weights * field(x))
        x = x.real if real else x
        x = x / _size(x, within)
    return scaled_to(field, x, magnitudes)


def scaled_to(field: Any, x: Array, magnitudes: Array) -> Array:
    """Multiple of each image whose field has the energy measured."""
    axes = tuple(range(-len(field.out_shape), 0))
    fit = _size(magnitudes, axes) / _size(field(x), axes)
    return x * fit.reshape(fit.shape[: fit.ndim - len(axes)] + (1,) * len(field.in_shape))


def _strongest(magnitudes: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    threshold = np.quantile(magnitudes, 1 - KEPT, axis=axes, keepdims=True)
    return np.where(magnitudes >= threshold, np.sqrt(magnitudes), 0)


def random_image(shape: tuple[int, ...], like: Array, rng: Any, *, real: bool) -> Array:
    """White noise in the precision of ``like``, complex unless ``real``."""
    rng = np.random.default_rng(0 if rng is None else rng)
    noise = rng.standard_normal(shape)
    return arrays.asarray(noise if real else noise + 1j * rng.standard_normal(shape), like)


def _size(x: Array, axes: tuple[int, ...]) -> Array:
    """Norms over ``axes``, which stay as axes of length one; at least the smallest number."""
    squares = (abs(x) ** 2).sum(axes, keepdims=True)
    return squares**0.5 + arrays.eps(squares) ** 2
