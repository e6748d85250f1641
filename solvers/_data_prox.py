"""The proximal map of a least squares data term, seen from the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.curvature_model import floored_spectrum, impulse_response
from solvers.errors import ArgumentError
from solvers.krylov import CG
from solvers.loop import unroll

CG_STEPS = 8  # from the last image, where there is no closed form
FLOOR = 1e-3  # of the eigenvalues, over the largest


def require_least_squares(algorithm: Any) -> None:
    """Refuse a data term that is not plain least squares."""
    if not algorithm.data.quadratic:
        name, data = type(algorithm).__name__, type(algorithm.data).__name__
        raise ArgumentError(
            f"the data term is {data}; {name} takes least squares without weights, whose proximal map in the image is "
            "a linear system. Use ADMM or PDHG for other data terms."
        )


def data_prox(data: Any, back: Array, v: Array, step: float, start: Array, spectrum: np.ndarray | None = None) -> Array:
    """``argmin_x step/2 |A x - y|^2 + 1/2 |x - v|^2``, ``back = A^H y``: exact, or a few steps on from ``start``.

    ``spectrum`` is :func:`nearest_spectrum`, with which the steps are preconditioned.
    """
    operator, rho = data.operator, 1.0 / step
    right = arrays.axpy(rho, v, back)
    if getattr(operator, "has_solve_shifted", False):
        return operator.solve_shifted(right, rho)
    ndim, inverse = len(operator.in_shape), None if spectrum is None else 1.0 / (spectrum + rho)
    precondition = None if inverse is None else lambda r: arrays.filter_fourier(r, inverse, ndim)
    return unroll(CG(lambda x: arrays.axpy(rho, x, operator.gram(x)), right, precondition), start, CG_STEPS)


def nearest_spectrum(operator: Any, back: Array) -> np.ndarray | None:
    """Eigenvalues of the periodic convolution that ``A^H A`` is at an image's centre; None with a closed form."""
    if getattr(operator, "has_solve_shifted", False):
        return None
    return floored_spectrum(impulse_response(operator, back), FLOOR, tuple(operator.in_shape))
