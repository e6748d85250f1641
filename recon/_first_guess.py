"""An image to start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._nonlinear import is_nonlinear, nonlinear_guess
from solvers import arrays
from solvers.arrays import Array

REACH = 0.8  # width of the averages that fill in what was not measured, over the typical distance of the samples
FAR_AWAY = 1e-3  # weight of the samples around, below which only the nearest one counts
DAMPING = 1e-2  # of the first guess, over the largest squared transfer


def first_guess(operator: Any, y: Array) -> Array:
    """An image on the scale of the answer to start from.

    Where ``A = C B`` with a ``C`` that picks samples: what was not picked is interpolated where ``B x`` is an
    image, and ``B`` is inverted with a moderate damping. Elsewhere a few conjugate gradient steps of the least squares
    problem.
    """
    if is_nonlinear(operator):
        return nonlinear_guess(operator, y)
    pair = operator.factors()
    if pair is not None and pair[0].selects:
        outer, inner = pair
        damping = max(DAMPING * inner.norm() ** 2, 1e-30)
        picked = _filled(outer, y) if inner.transfer() is not None else outer.adjoint(y)
        return inner.solve_shifted(inner.adjoint(picked), damping)
    from solvers.krylov import CGLS
    from solvers.loop import unroll

    back = operator.adjoint(y)
    return unroll(CGLS(operator, y), arrays.zeros(tuple(back.shape), back), 5)


def _filled(selection: Any, y: Array) -> Array:
    """``selection^H y``; what it does not see is a local average of what it sees, or far from that the nearest sample.

    A start only: gradients do not pass.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    back = selection.adjoint(y)
    seen = arrays.to_numpy(selection.diagonal_gram()) > 0
    if seen.all() or not seen.any():
        return back
    values = arrays.to_numpy(back)
    width = REACH * float(seen.mean()) ** (-1 / seen.ndim)
    batch = (0.0,) * (values.ndim - seen.ndim)
    near = gaussian_filter(seen.astype(values.real.dtype), width, mode="nearest")
    average = gaussian_filter(values, (*batch, *(width,) * seen.ndim), mode="nearest") / np.maximum(near, FAR_AWAY)
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    filled = np.where(near > FAR_AWAY, average, values[(..., *nearest)])
    return arrays.to_device_of(np.where(seen, values, filled).astype(values.dtype, copy=False), back)
