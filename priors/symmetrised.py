"""Second differences for total generalised variation: the symmetrised derivative of a field of slopes.

Slopes ``w_d`` live between pixels, at ``i + e_d / 2``, as the forward differences ``D_d`` of an image do. Then

    (E w)_dd = (w_d[i] - w_d[i - e_d]) / h_d                       at the pixels
    (E w)_de = (D_e w_d + D_d w_e) / 2                             at the corners, d < e

has every entry where its parts are, ``E D x`` is the Hessian, and with periodic differences

    E^H E = (S I + f f^H) / 2,      S = f^H f = sum_d |f_d|^2,

``f_d`` being the transfer of ``D_d``. So ``f`` is an eigenvector: ``E^H E f = S f``. Entries off the diagonal are kept
multiplied by the square root of 2: the plain norm of what is kept is the Frobenius norm of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from solvers import arrays
from solvers.arrays import Array


def pairs(ndim: int) -> Iterator[tuple[int, int]]:
    """Pairs of directions in the order in which second differences are kept."""
    return ((d, e) for d in range(ndim) for e in range(d, ndim))


def symmetrised(w: Array, scales: tuple[float, ...]) -> Array:
    """``E w`` with periodic differences, ``(..., ndim, *spatial)`` to ``(..., ndim (ndim + 1) / 2, *spatial)``."""
    ndim = len(scales)
    xp = arrays.namespace(w)
    parts = []
    for d, e in pairs(ndim):
        if d == e:
            parts.append(_backward(_of(w, d, ndim), d - ndim) * scales[d])
        else:
            mixed = _forward(_of(w, d, ndim), e - ndim) * scales[e] + _forward(_of(w, e, ndim), d - ndim) * scales[d]
            parts.append(mixed * math.sqrt(0.5))
    return xp.stack(parts, -ndim - 1)


def symmetrised_adjoint(z: Array, scales: tuple[float, ...]) -> Array:
    """Adjoint of :func:`symmetrised`."""
    ndim = len(scales)
    parts = [0.0] * ndim
    for k, (d, e) in enumerate(pairs(ndim)):
        part = _of(z, k, ndim)
        if d == e:
            parts[d] = parts[d] - _forward(part, d - ndim) * scales[d]
        else:
            for this, other in ((d, e), (e, d)):
                parts[this] = parts[this] - _backward(part, other - ndim) * (scales[other] * math.sqrt(0.5))
    return arrays.namespace(z).stack(parts, -ndim - 1)


@lru_cache(maxsize=2)
def existing(spatial: tuple[int, ...]) -> np.ndarray:
    """Which first and second differences do not wrap around, ``(ndim + ndim (ndim + 1) / 2, *spatial)``."""
    ndim = len(spatial)
    places = np.indices(spatial, sparse=True)
    slopes = [places[d] < n - 1 for d, n in enumerate(spatial)]
    bends = [slopes[d] & (slopes[e] if d != e else places[d] > 0) for d, e in pairs(ndim)]
    out = np.stack([np.broadcast_to(part, spatial) for part in (*slopes, *bends)])
    out.flags.writeable = False
    return out


def _of(z: Array, k: int, ndim: int) -> Array:
    return z[(..., k, *(slice(None),) * ndim)]


def _forward(x: Array, axis: int) -> Array:
    return arrays.namespace(x).roll(x, -1, axis) - x


def _backward(x: Array, axis: int) -> Array:
    return x - arrays.namespace(x).roll(x, 1, axis)
