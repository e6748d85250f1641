"""Visibilities of the sky, as pairs of radio telescopes measure them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from recon.operators.non_cartesian import NonCartesianMRI
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, require_finite, shape_argument


class RadioInterferometry(LinearOperator):
    r"""Complex visibilities of a real image of the sky, one for each baseline.

    .. math:: y_j = \sqrt{w_j} \sum_n e^{-2 \pi i \, (u_j l_n + v_j m_n)} x_n

    with the direction cosines ``l = pixel * (column - columns // 2)`` and ``m = pixel * (row - rows // 2)``: row 0 is
    the southern edge, and ``l`` grows with the column; turn the signs of ``u`` or ``v`` where the image's axes run the
    other way. The image is brightness a pixel, such as Jy, and the visibilities have its unit. The ``w`` coordinate is
    left out, which holds for fields of view small against ``1 / sqrt(w)``. A primary beam is a factor before it:
    ``A @ Diagonal(beam)``.

    Parameters
    ----------
    uv : array of float, shape (..., 2)
        Baselines ``(u, v)`` in wavelengths. One of each pair of telescopes suffices: that of the reversed baseline is
        the conjugate.
    shape : tuple of int
        Image, (rows, columns).
    pixel : float
        Angle between neighbouring pixels, in radians; at most half the inverse of the longest coordinate.
    weights : array of float, shape (...), optional
        How much each visibility counts in least squares, at least 0. The operator then measures ``sqrt(w)`` times the
        visibilities: reconstruct from ``np.sqrt(w) * y``.
    eps : float
        Relative tolerance of the transforms, 1e-12 to 1e-3.

    Raises
    ------
    ShapeError
        ``uv``, ``shape`` and ``weights`` do not fit each other.
    ArgumentError, DTypeError, NonFiniteError
        Pixels too coarse for the longest baseline, negative weights, no numbers, NaN.

    References
    ----------
    A. R. Thompson, J. M. Moran, G. W. Swenson, "Interferometry and Synthesis in Radio Astronomy", 3rd ed. (2017),
    section 3.1. Y. Wiaux et al., "Compressed sensing imaging techniques for radio interferometry", Mon. Not. R. Astron.
    Soc. 395 (2009).

    Examples
    --------
    >>> uv = np.random.default_rng(0).normal(scale=2e4, size=(300, 2))  # wavelengths
    >>> A = RadioInterferometry(uv, shape=(64, 64), pixel=np.deg2rad(1 / 3600))  # a second of arc
    >>> A(np.ones((64, 64))).shape, A.adjoint(A(np.ones((64, 64)))).dtype
    ((300,), dtype('float64'))
    """

    kind = "real"
    out_kind = "complex"
    neighbours_alike = False

    def __init__(self, uv: Any, shape: Any, pixel: float, weights: Any = None, eps: float = 1e-6):
        shape = shape_argument("shape", shape)
        self.pixel = positive_float("pixel", pixel)
        self.uv = _baselines(uv, shape, self.pixel)
        cycles = self.uv[..., ::-1] * self.pixel * np.array(shape)  # per field of view, rows before columns
        self._samples = NonCartesianMRI(cycles, shape, weights=weights, eps=eps)
        super().__init__(shape, self.uv.shape[:-1])
        self.adjoint_tolerance, self.sampling = self._samples.adjoint_tolerance, self._samples.sampling
        self._scale = math.sqrt(math.prod(shape))

    @property
    def weights(self) -> np.ndarray | None:
        """How much each visibility counts."""
        return self._samples.weights

    def _apply(self, x: Array) -> Array:
        return self._samples(x) * self._scale

    def _adjoint(self, y: Array) -> Array:
        return self._samples.adjoint(y) * self._scale

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``: a convolution with the synthesised beam."""
        return self._samples.real_gram(self._admit(x, "x", self.in_shape)) * self._scale**2

    def _iterate_norm(self) -> float:
        return super()._iterate_norm() * (1 + self._samples.eps)  # the forward may be that much larger than its gram

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        weights = np.broadcast_to(sampling, self.out_shape) * (1.0 if self.weights is None else self.weights)
        return RadioInterferometry(self.uv, self.in_shape, self.pixel, weights, self._samples.eps)

    def __repr__(self) -> str:
        return f"RadioInterferometry({self.in_shape}, {math.prod(self.out_shape)} visibilities)"


def _baselines(uv: Any, shape: tuple[int, ...], pixel: float) -> np.ndarray:
    values = arrays.to_numpy(uv)
    if values.dtype.kind not in "iuf":
        raise DTypeError(f"uv has dtype {values.dtype}; expected real wavelengths. Pass floats, (..., 2).")
    if len(shape) != 2:
        raise ShapeError(f"shape is {shape}; expected rows and columns. Pass leading axes as a batch.")
    if values.ndim < 2 or values.shape[-1] != 2 or not values.size:
        raise ShapeError(f"uv has shape {values.shape}; expected (..., 2), u before v. Stack them on the last axis.")
    require_finite("uv", values, "Leave out the baselines that are not known, here and in y.")
    longest = float(np.abs(values).max())
    if longest * pixel > 0.5 * (1 + 1e-6):
        raise ArgumentError(
            f"pixel is {pixel:g} radians; expected at most {0.5 / longest:.3g} for baselines that reach {longest:.4g} "
            "wavelengths. Take finer pixels, or leave the longest baselines out."
        )
    return values.astype(np.float64)
