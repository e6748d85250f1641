"""Resampling to any size, with borders mirrored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from recon.operators._antialias import MTF, keys, mtf_sigma
from recon.operators.base import LinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OptionError, ShapeError, suggestion

Kernel = Literal["area", "bicubic", "gaussian", "linear"]

_SUPPORT = {"area": 1.0, "bicubic": 4.0, "gaussian": 8.0 * mtf_sigma(1.0, MTF), "linear": 2.0}
"""Widths of the kernels, in pixels of the coarser grid."""


class Resample(LinearOperator):
    r"""The image on a grid of another size, ``y = (M_1 x ... x M_d) x``: a small sparse matrix for each axis.

    Both grids cover the same area. Pixel ``i`` of an axis of ``m`` pixels lies at ``u = (i + 1/2) n / m - 1/2`` of the
    ``n`` given ones and reads ``y[i] = sum_j k((u - j) / s) x[j] / sum_j k((u - j) / s)``, where the kernel is
    stretched by ``s = max(n / m, 1)`` to suppress what the coarser grid cannot hold. Beyond the borders the image is
    mirrored about the outer edge of its outer pixels.

    Parameters
    ----------
    shape, out_shape : tuple of int
        Shapes of the image and of the measurement; any ratio, up and down.
    kernel : {"bicubic", "linear", "area", "gaussian"}
        ``bicubic``: cubic convolution (Keys, a = -1/2); with it this is MATLAB's ``imresize``. ``linear``: a triangle.
        ``area``: the mean over the area of the pixel. ``gaussian``: modulation transfer of 0.3 at the Nyquist
        frequency of the coarser grid.
    antialias : bool
        Whether the kernel is stretched where the image is made smaller. If not, it interpolates.

    Raises
    ------
    ShapeError
        The shapes differ in their number of axes.
    OptionError
        ``kernel`` is unknown.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. Acoust. Speech Signal
    Process. 29 (1981).

    Examples
    --------
    >>> A = Resample((4, 6), out_shape=(2, 4), kernel="area")
    >>> A(np.arange(24.0).reshape(4, 6)).round(6)
    array([[ 3.333333,  4.666667,  6.333333,  7.666667],
           [15.333333, 16.666667, 18.333333, 19.666667]])
    """

    def __init__(
        self, shape: Sequence[int], out_shape: Sequence[int], kernel: Kernel = "bicubic", antialias: bool = True
    ):
        super().__init__(shape, out_shape)
        if len(self.in_shape) != len(self.out_shape):
            raise ShapeError(
                f"out_shape is {self.out_shape} and shape is {self.in_shape}; expected as many axes. "
                "Bands and slices are leading axes of x and are not resampled."
            )
        if kernel not in _SUPPORT:
            listed = ", ".join(map(repr, _SUPPORT))
            raise OptionError(
                f"kernel is {kernel!r}; expected one of {listed}.{suggestion(kernel, _SUPPORT)} Pass one."
            )
        self.kernel, self.antialias = kernel, bool(antialias)
        self.nonnegative = kernel != "bicubic"
        self.matrices = [
            resampling_matrix(n, m, kernel, self.antialias) for n, m in zip(self.in_shape, self.out_shape, strict=True)
        ]
        self._single = [matrix.astype(np.float32) for matrix in self.matrices]

    def _apply(self, x: Array) -> Array:
        return self._each_axis(x, transposed=False)

    def _adjoint(self, y: Array) -> Array:
        return self._each_axis(y, transposed=True)

    def _each_axis(self, x: Array, *, transposed: bool) -> Array:
        matrices = self.matrices if arrays.eps(x) < 1e-10 else self._single
        for axis, matrix in zip(range(-len(matrices), 0), matrices, strict=True):
            x = _along(matrix.T if transposed else matrix, x, axis)
        return x

    def norm(self) -> float:
        return self._norm

    @cached_property
    def _norm(self) -> float:
        # The norm of a Kronecker product is the product of the norms.
        return math.prod(_norm(matrix) for matrix in self.matrices)

    def __repr__(self) -> str:
        return f"Resample({self.in_shape} -> {self.out_shape}, kernel={self.kernel!r})"


def resampling_matrix(n: int, m: int, kernel: Kernel, antialias: bool = True) -> Any:
    """The sparse matrix (m, n) of :class:`Resample` along one axis."""
    from scipy import sparse

    stretch = max(n / m, 1.0) if antialias else 1.0
    middles = (np.arange(m) + 0.5) * (n / m) - 0.5
    reach = 0.5 * _SUPPORT[kernel] * stretch
    # One more on each side, for a box reaches into pixels whose middle it does not reach.
    columns = np.floor(middles - reach)[:, None].astype(int) + np.arange(math.ceil(2 * reach) + 3)
    weights = _weights(kernel, columns - middles[:, None], stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = columns % (2 * n)
    mirrored = np.where(mirrored < n, mirrored, 2 * n - 1 - mirrored)
    rows = np.broadcast_to(np.arange(m)[:, None], columns.shape)
    matrix = sparse.coo_array((weights.ravel(), (rows.ravel(), mirrored.ravel())), shape=(m, n)).tocsr()
    matrix.eliminate_zeros()
    return matrix


def _weights(kernel: Kernel, distance: np.ndarray, stretch: float) -> np.ndarray:
    if kernel == "area":  # how much of the pixel lies in the box
        low, high = np.maximum(distance - 0.5, -0.5 * stretch), np.minimum(distance + 0.5, 0.5 * stretch)
        return np.maximum(high - low, 0.0)
    t = distance / stretch
    if kernel == "linear":
        return np.maximum(1.0 - np.abs(t), 0.0)
    if kernel == "gaussian":
        return np.where(np.abs(t) <= 0.5 * _SUPPORT[kernel], np.exp(-0.5 * (t / mtf_sigma(1.0, MTF)) ** 2), 0.0)
    return keys(t)


def _along(matrix: Any, x: Array, axis: int) -> Array:
    """``matrix`` applied to one axis."""
    if arrays.is_torch(x):
        dense = arrays.asarray(matrix.toarray(), x, dtype=x.dtype)
        return (x.movedim(axis, -1) @ dense.T).movedim(-1, axis).contiguous()
    front = np.moveaxis(x, axis, 0)
    product = matrix @ front.reshape(len(front), -1)
    return np.ascontiguousarray(np.moveaxis(product.reshape(-1, *front.shape[1:]), 0, axis))


def _norm(matrix: Any) -> float:
    """Spectral norm of a banded matrix, rounded up."""
    from scipy.linalg import eigvals_banded

    gram = (matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix).todia()
    last = gram.shape[0] - 1
    upper = [gram.diagonal(k) for k in range(max(gram.offsets) + 1)]
    bands = np.stack([np.pad(d, (0, last + 1 - len(d))) for d in upper])
    top = float(eigvals_banded(bands, lower=True, select="i", select_range=(last, last))[0])
    return math.sqrt(top) * (1 + 1e-9)
