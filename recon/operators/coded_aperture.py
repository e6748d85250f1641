"""Snapshot spectral imaging through a coded aperture."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators._woodbury import OrthogonalRows
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_int, require_finite


class CodedAperture(OrthogonalRows):
    r"""Coded-aperture snapshot spectral imaging (CASSI): a cube of bands in one exposure.

    The aperture ``m`` codes every band, a prism shears band ``b`` by ``shift * b`` columns, the detector adds up:
    ``y[i, j] = sum_b m[i, j - shift b] x[b, i, j - shift b]``.

    Parameters
    ----------
    aperture : array, shape (rows, columns)
        Transmission of the aperture, 0 to 1.
    bands : int
        Number of bands of the cube, which is (bands, rows, columns).
    shift : int
        Columns between neighbouring bands on the detector, which is (rows, columns + (bands - 1) * shift).

    Raises
    ------
    ShapeError
        ``aperture`` has not two axes.
    DTypeError, NonFiniteError, ArgumentError
        ``aperture`` does not hold finite numbers >= 0, or is zero everywhere.

    References
    ----------
    A. Wagadarikar, R. John, R. Willett, D. Brady, "Single disperser design for coded aperture snapshot spectral
    imaging", Appl. Opt. 47 (2008).

    Examples
    --------
    >>> A = CodedAperture(np.eye(4), bands=3)
    >>> A(np.ones((3, 4, 4)))[0]
    array([1., 1., 1., 0., 0., 0.])
    """

    channels = True
    neighbours_alike = False
    nonnegative = True

    def __init__(self, aperture: Any, bands: int, shift: int = 1):
        self.aperture = _transmission(aperture)
        self.bands = positive_int("bands", bands)
        self.shift = positive_int("shift", shift)
        rows, columns = self.aperture.shape
        super().__init__((self.bands, rows, columns), (rows, columns + (self.bands - 1) * self.shift))
        self._mask = Constant(self.aperture)
        self._places = [slice(b * self.shift, b * self.shift + columns) for b in range(self.bands)]

    def _apply(self, x: Array) -> Array:
        out = arrays.zeros((*x.shape[:-3], *self.out_shape), x)
        mask = self._mask.like(x)
        for b, place in enumerate(self._places):
            out[..., place] += mask * x[..., b, :, :]
        return out

    def _adjoint(self, y: Array) -> Array:
        mask = self._mask.like(y)
        return arrays.namespace(y).stack([mask * y[..., place] for place in self._places], -3)

    def outer_gram(self) -> np.ndarray:
        return self._apply(np.broadcast_to(self.aperture, self.in_shape))

    def __repr__(self) -> str:
        return f"CodedAperture({self.in_shape} -> {self.out_shape}, shift={self.shift})"


def _transmission(aperture: Any) -> np.ndarray:
    values = arrays.to_numpy(aperture)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"aperture has dtype {values.dtype}; expected real numbers. Pass the transmission, 0 to 1.")
    if values.ndim != 2:
        raise ShapeError(f"aperture has shape {values.shape}; expected (rows, columns). Pass the aperture of one band.")
    require_finite("aperture", values, "Set it to 0 where nothing passes.")
    if not values.size or values.min() < 0 or not values.any():
        raise ArgumentError("aperture is negative somewhere, or zero everywhere; expected a transmission. Pass 0 to 1.")
    return values.astype(np.float64)
