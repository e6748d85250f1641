"""Parallel projections by the Fourier slice theorem: a normal operator that is a convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.operators._nufft import RealNUFFT
from recon.operators.base import LinearOperator
from recon.operators.non_cartesian import NonCartesianMRI
from recon.operators.parallel_beam import ParallelBeam
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.kernels import run_jobs

DOUBLE, SAMPLE = 8, 116
"""Bytes of a pixel in the transform, and of all that belongs to a sample while it is transformed."""


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
        cycles_a_pixel = scan.spacing * np.arange(count) / period
        turns = np.multiply.outer(_directions(scan.angles).T, cycles_a_pixel).swapaxes(1, 2)
        # A real view has half of its frequencies twice: those count double in its sum of squares.
        self._twice = np.where(np.arange(count) > 0, 2.0, 1.0)
        weights = np.broadcast_to(self._twice, turns.shape[:-1])
        self._samples = NonCartesianMRI(turns * np.array(self.in_shape), self.in_shape, weights=weights, eps=eps)
        self.eps, self.adjoint_tolerance = self._samples.eps, self._samples.adjoint_tolerance
        self._transform, self._frequencies = RealNUFFT(self.in_shape, self.eps), 2 * np.pi * cycles_a_pixel
        self._gain = scan.spacing**2 / scan.detector_spacing / math.sqrt(scan.detectors)
        # The transforms count from pixel N // 2 and from cell 0.
        beside = np.array([n // 2 - 0.5 * (n - 1) for n in self.in_shape])
        cycles = turns @ beside + np.arange(count) * (scan.center / scan.detectors)
        self._slices = self._gain * np.exp(-2j * np.pi * cycles)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        images, views = x.reshape(-1, *self.in_shape), np.empty((*x.shape[:-2], *self.out_shape), x.dtype)
        run_jobs(self._project, views.size, len(images), images, views.reshape(-1, *self.out_shape))
        return views

    def _project(self, item: int, images: np.ndarray, views: np.ndarray) -> None:
        grid = self._transform.joined(images[item])
        for some in self._portions(images.itemsize):
            spectrum = self._transform.forward(grid, self._points(some)).reshape(-1, self._twice.size)
            spectrum *= self._slices[some]
            views[item, some] = np.fft.irfft(spectrum, self.scan.detectors, norm="ortho")
            del spectrum  # before the next points are made

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        views, images = y.reshape(-1, *self.out_shape), np.zeros((*y.shape[:-2], *self.in_shape), y.dtype)
        run_jobs(self._back_project, views.size, len(views), views, images.reshape(-1, *self.in_shape))
        return images

    def _back_project(self, item: int, views: np.ndarray, images: np.ndarray) -> None:
        for some in self._portions(views.itemsize):
            samples = self._slices[some].conj()
            samples *= self._twice
            samples *= np.fft.rfft(views[item, some], norm="ortho")[:, : self._twice.size]
            self._transform.add_adjoint(samples.reshape(-1), self._points(some), images[item])

    def _portions(self, itemsize: int) -> Iterator[slice]:
        """Views so many that all takes four times the larger of image and measurement: one in double precision."""
        larger = max(math.prod(self.in_shape), math.prod(self.out_shape))
        samples = larger * (3 * itemsize - DOUBLE) // SAMPLE
        some = max(samples // self._twice.size, 1)
        for first in range(0, self.out_shape[0], some):
            yield slice(first, first + some)

    def _points(self, some: slice) -> np.ndarray:
        """The slices' samples and their opposites, in radians a pixel down and along the rows."""
        directions = _directions(self.scan.angles[some])
        points = np.empty((2, 2, directions.shape[1], self._frequencies.size))
        np.multiply(directions[..., None], self._frequencies, out=points[:, 0])
        np.negative(points[:, 0], out=points[:, 1])
        return points.reshape(2, -1)

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``: a convolution with the density of the slices."""
        seen = self._samples.real_gram(self._admit(x, "x", self.in_shape))
        return seen * (self._gain**2 * math.prod(self.in_shape))

    def _iterate_norm(self) -> float:
        return super()._iterate_norm() * (1 + self.eps)  # the forward may be that much larger than its gram

    def rows(self, indices: np.ndarray) -> FourierSlice:
        """The same scan of some of the views alone."""
        return FourierSlice(self.scan.rows(indices), self.eps)

    def __repr__(self) -> str:
        return f"FourierSlice({self.scan!r})"


def _directions(angles: np.ndarray) -> np.ndarray:
    """Of the slices, down and along the rows."""
    return np.stack([-np.sin(angles), np.cos(angles)])


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
