"""The measurement of a blur as a linear function of its point spread function, the image being known."""

from __future__ import annotations

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.pointwise import embed, window
from solvers import arrays
from solvers.arrays import Array


class OfThePSF(LinearOperator):
    """``psf -> crop(psf * x)`` for images that wrap around, or reach beyond what is seen by the PSF's width.

    Parameters
    ----------
    x : ndarray, shape (..., *image)
    psf : tuple of int
        Shape of the PSF.
    seen : tuple of slice
        Where the measurement lies in the image.
    """

    kind = "real"

    def __init__(self, x: np.ndarray, psf: tuple[int, ...], seen: tuple[slice, ...]):
        self._image, self._seen = x.shape[x.ndim - len(psf) :], seen
        self._axes = tuple(range(-len(psf), 0))
        batch = x.shape[: x.ndim - len(psf)]
        self._batch_axes = tuple(range(-len(psf) - len(batch), -len(psf)))
        self._transform = Constant(arrays.rfftn(x, self._axes))
        self._places = places(psf, self._image)
        super().__init__(psf, batch + tuple(part.stop - part.start for part in seen))

    def _apply(self, psf: Array) -> Array:
        grid = arrays.zeros((*psf.shape[: psf.ndim - len(self.in_shape)], *self._image), psf)
        grid[(..., *self._places)] = psf
        spectrum = arrays.rfftn(grid, self._axes)
        spectrum = spectrum[(..., *(None,) * len(self._batch_axes), *(slice(None),) * len(self._axes))]
        return window(arrays.irfftn(spectrum * self._transform.like(psf), self._image, self._axes), self._seen)

    def _adjoint(self, y: Array) -> Array:
        back = arrays.rfftn(embed(y, self._image, self._seen), self._axes) * self._transform.like(y).conj()
        if self._batch_axes:
            back = back.sum(self._batch_axes)
        return arrays.irfftn(back, self._image, self._axes)[(..., *self._places)]


def places(psf: tuple[int, ...], grid: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Where the entries of a PSF stand on a periodic grid whose origin is entry ``k // 2``."""
    return np.ix_(*((np.arange(k) - k // 2) % n for k, n in zip(psf, grid, strict=True)))
