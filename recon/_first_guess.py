"""An image to start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._nonlinear import is_nonlinear, nonlinear_guess
from solvers import arrays
from solvers.arrays import Array

LEFT_OUT = 0.1  # most of the samples that are left out to see how well the others tell them
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
    back = selection.adjoint(y)
    seen = arrays.to_numpy(selection.diagonal_gram()) > 0
    if seen.all() or not seen.any():
        return back
    return arrays.to_device_of(_interpolated(arrays.to_numpy(back), seen), back)


def _interpolated(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values where they were seen, elsewhere what those around say."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    width = REACH * float(seen.mean()) ** (-1 / seen.ndim)
    batch = (0.0,) * (values.ndim - seen.ndim)
    near = gaussian_filter(seen.astype(values.real.dtype), width, mode="nearest")
    average = gaussian_filter(values, (*batch, *(width,) * seen.ndim), mode="nearest") / np.maximum(near, FAR_AWAY)
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    filled = np.where(near > FAR_AWAY, average, values[(..., *nearest)])
    return np.where(seen, values, filled).astype(values.dtype, copy=False)


def unseen_error(mask: Any, y: Array, noise: float) -> float:
    """Root mean square error of interpolated pixels, those that a mask left out, beyond the noise.

    It is found on pixels that were measured: those that the mask, moved aside, would have left out as well.
    """
    values, seen = arrays.to_numpy(mask.adjoint(y)), arrays.to_numpy(mask.diagonal_gram()) > 0
    out = seen & ~np.roll(seen, [n // 3 for n in seen.shape], range(seen.ndim))
    share = LEFT_OUT * seen.sum() / max(out.sum(), 1)
    if share < 1:
        out &= np.random.default_rng(0).random(seen.shape) < share
    if not out.any():
        return 0.0
    misses = (_interpolated(np.where(out, 0, values), seen & ~out) - values)[..., out]
    return float(np.sqrt(max(np.mean(np.abs(misses) ** 2) - noise**2, 0.0)))
