"""Parallel projections by the Fourier slice theorem: a normal operator that is a convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.non_cartesian import NonCartesianMRI
from recon.operators.parallel_beam import ParallelBeam
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError


class FourierSlice(LinearOperator):
    r"""Line integrals of a band-limited image along parallel rays.

    .. math:: y_{k,d} = \frac{1}{M w} \sum_m \hat x(f_m \cos\theta_k,\; f_m \sin\theta_k) \, e^{2 \pi i f_m u_d},
        \qquad f_m = \frac{m}{M w}, \quad |f_m| < \min\!\left(\frac{1}{2 w}, \frac{1}{2 s}\right),
        \qquad \hat x(f) = s^2 \sum_n x_n e^{-2 \pi i f \cdot r_n}

    The Fourier transform of a projection is a slice of that of the image. Here the image is the band-limited function
    with the values ``x_n`` at the middles ``r_n`` of pixels of side s, and of its projections the M cells of width w
    hold what their frequencies can. :meth:`gram` is then a convolution, exactly, and several times quicker than
    projecting and back-projecting; use it where a solver asks for many normal operators. :class:`ParallelBeam` follows
    the rays through pixels instead: quicker one way, in less memory, also where the detector is narrow, and without
    oscillations beside edges that the pixels do not resolve.

    Parameters
    ----------
    scan : ParallelBeam
        The geometry. Its detector covers the image from corner to corner, as by default.
    eps : float
        Relative tolerance of the transforms, 1e-12 to 1e-3. Forward and adjoint are adjoint to each other far beyond
        it; :meth:`gram` agrees with them within ``10 * eps``.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        ``(rows, columns)`` and ``(angles, detectors)``; leading axes of an argument are a batch.

    Raises
    ------
    DTypeError, ArgumentError
        ``scan`` is no parallel beam, or its detector is too narrow; ``eps`` is out of range.

    References
    ----------
    A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press (1988), section 3.2. S. Matej,
    J. A. Fessler, I. G. Kazantsev, "Iterative tomographic image reconstruction using Fourier-based forward and
    back-projectors", IEEE Trans. Med. Imaging 23 (2004).

    Examples
    --------
    >>> from recon.operators import ParallelBeam
    >>> A = FourierSlice(ParallelBeam((64, 64), 90))
    >>> disc = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 20
    >>> A(disc.astype(float)).shape, round(float(A(disc.astype(float))[30, 46]))  # through the middle
    ((90, 92), 40)
    """

    kind = "real"
    torch_body = False

    def __init__(self, scan: Any, eps: float = 1e-6):
        if not isinstance(scan, ParallelBeam):
            raise DTypeError(
                f"scan is {type(scan).__name__}; expected a ParallelBeam, the geometry. Pass "
                "ParallelBeam(shape, angles, ...)."
            )
        _require_cover(scan)
        self.scan = scan
        super().__init__(scan.in_shape, scan.out_shape)
        period = scan.detectors * scan.detector_spacing
        count = 1 + min((scan.detectors - 1) // 2, math.floor(period / (2 * scan.spacing)))
        turns = _turns(scan, np.arange(count) / period)
        # A real view has half of its frequencies twice: those count double in its sum of squares.
        self._twice = Constant(np.where(np.arange(count) > 0, math.sqrt(2), 1.0))
        weights = np.broadcast_to(self._twice.double**2, turns.shape[:-1])
        self._samples = NonCartesianMRI(turns * np.array(self.in_shape), self.in_shape, weights=weights, eps=eps)
        self.eps, self.adjoint_tolerance = self._samples.eps, self._samples.adjoint_tolerance
        self._gain = scan.spacing**2 / scan.detector_spacing * math.sqrt(math.prod(self.in_shape) / scan.detectors)
        # The transforms count from pixel N // 2 and from cell 0.
        beside = np.array([n // 2 - 0.5 * (n - 1) for n in self.in_shape])
        cycles = turns @ beside + np.arange(count) * (scan.center / scan.detectors)
        self._slices = Constant(self._gain * np.exp(-2j * np.pi * cycles))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        spectrum = self._samples(x)
        spectrum *= self._slices.like(x)
        spectrum /= self._twice.like(x)
        return np.fft.irfft(spectrum, self.scan.detectors, norm="ortho").astype(x.dtype, copy=False)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        twice = self._twice.like(y)
        spectrum = np.fft.rfft(y, norm="ortho")[..., : twice.size].astype(arrays.complex_dtype(y), copy=False)
        return np.ascontiguousarray(self._samples.adjoint(spectrum * twice * self._slices.like(y).conj()).real)

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``: a convolution with the density of the slices."""
        return self._samples.real_gram(self._admit(x, "x", self.in_shape)) * self._gain**2

    def _iterate_norm(self) -> float:
        return super()._iterate_norm() * (1 + self.eps)  # the forward may be that much larger than its gram

    def rows(self, indices: np.ndarray) -> FourierSlice:
        """The same scan of some of the views alone."""
        return FourierSlice(self.scan.rows(indices), self.eps)

    def __repr__(self) -> str:
        return f"FourierSlice({self.scan!r})"


def _turns(scan: ParallelBeam, frequencies: np.ndarray) -> np.ndarray:
    """Positions of the slices' samples, in cycles from pixel to pixel down and along the rows."""
    down, along = -np.sin(scan.angles), np.cos(scan.angles)
    return scan.spacing * np.stack([np.multiply.outer(d, frequencies) for d in (down, along)], axis=-1)


def _require_cover(scan: ParallelBeam) -> None:
    """The transform wraps what passes beside the detector around to its other end."""
    reach = 0.5 * math.hypot(*scan.in_shape) * scan.spacing / scan.detector_spacing
    left = math.ceil(reach - scan.center - 0.5 - 1e-9)
    right = math.ceil(reach + scan.center + 0.5 - scan.detectors - 1e-9)
    if max(left, right) > 0:
        left, right = max(left, 0), max(right, 0)
        raise ArgumentError(
            f"scan has {scan.detectors} detectors and its axis at {scan.center:g}; expected a detector that covers the "
            f"image from corner to corner. Pass scan.widened({left}, {right}), and y with so many zeros at the ends, "
            "np.pad(y, [(0, 0), "
            f"({left}, {right})])."
        )
