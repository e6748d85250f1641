"""How far apart frames are, in pixels: what total variation over space and time has to know."""

from __future__ import annotations

from typing import Any

from solvers import arrays
from solvers.arrays import Array

FIRST = 0.1  # of a pixel between frames, for the first pilot: what one frame lacks comes from the others
LEAST = 0.05
PILOTS = 2
STEPS = 10  # of a pilot


def pace(y: Array, operator: Any) -> float:
    """Distance of neighbouring frames in pixels: difference of frames over difference of neighbours.

    Differences of an image follow a Laplace law each way, whose likelihood weights them by the inverse of their means.
    They are those of a pilot, a few steps at the strength that balances prior and noise; one more pilot starts
    from there with the distance found. Aliasing changes from frame to frame, so the measurement's own adjoint image
    does not do.

    Parameters
    ----------
    y : array
        Measurement, ``(..., *operator.out_shape)``.
    operator : LinearOperator
        Its image is ``(frames, rows, columns)`` or ``(frames, columns)``.
    """
    from priors import TotalVariation
    from recon._first_guess import first_guess
    from recon.noise import estimate_sigma
    from solvers.admm import ADMM
    from solvers.data_terms import LeastSquares
    from solvers.loop import solve

    ndim = len(operator.in_shape)
    x, sigma, distance = first_guess(operator, y), estimate_sigma(y, operator), FIRST
    if operator.in_shape[0] == 1:
        return distance
    for _ in range(PILOTS):
        prior = TotalVariation(ndim, spacing=(distance, *(1.0,) * (ndim - 1)))
        value = arrays.to_float(prior.value(x))
        if not (value > 0 and sigma > 0):
            break
        pilot = ADMM(LeastSquares(operator, y), prior, sigma**2 * arrays.size(x) / value)
        x = solve(pilot, x, max_iter=STEPS, objective=False).image
        ratio = _ratio(x, ndim)
        # Damped: what moves by pixels leaves few, large differences, and aliasing that is left adds some.
        distance = max(ratio / (1 + ratio), LEAST)
    return distance


def _ratio(x: Array, ndim: int) -> float:
    """Size of the differences along the first of ``ndim`` axes over that along the others.

    By their means, or by their largest (the fourth root of the mean fourth power) where those say less: a scene that
    brightens as a whole changes everywhere, yet never by as much as an edge.
    """
    return min(_sizes(x, ndim, power) for power in (1, 4))


def _sizes(x: Array, ndim: int, power: int) -> float:
    time, *space = (_mean_power(x, axis, power) for axis in range(-ndim, 0))
    mean = sum(space) / len(space)
    return (time / mean) ** (1 / power) if mean > 0 else FIRST


def _mean_power(x: Array, axis: int, power: int) -> float:
    if x.shape[axis] == 1:
        return 0.0
    rest = (slice(None),) * (-axis - 1)
    return arrays.to_float((abs(x[(..., slice(1, None), *rest)] - x[(..., slice(None, -1), *rest)]) ** power).mean())
