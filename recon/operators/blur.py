"""Blur by a point spread function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._blur_bodies import (
    BOUNDARIES,
    BorderedSum,
    Boundary,
    Cosine,
    Periodic,
    Reflecting,
    Unknown,
    extended,
    psf_spectrum,
    reach,
)
from recon.operators._convolution import METHODS, Method, convolution_for
from recon.operators._cosine_filter import is_symmetric
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Crop, Identity
from recon.operators.unknown import Parametrised
from recon.operators.unknown import Unknown as UnknownParameter
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.step_sizes import TIGHTNESS, lanczos_norm
from solvers.validation import require_finite, shape_argument

REMOVED = 1e-3  # squared transfer, of the largest, below which a frequency is all but removed
CONTRADICTING_BORDER = 1.25  # excess along the border; white noise has 1, up to the scatter of
FEW = 200  # samples along the border


class Blur(Parametrised, LinearOperator):
    r"""Convolution with a point spread function (PSF): ``y[i] = sum_j psf[j] x[i - j + c]``.

    The centre ``c`` of the PSF is ``k // 2`` on an axis of ``k`` entries, and a periodic blur equals
    ``scipy.ndimage.convolve(x, psf, mode="wrap")``. The PSF is used as given: it keeps the brightness of the image if
    it sums to one. Functions of :mod:`recon.psf` make the usual ones.

    Parameters
    ----------
    psf : array or Unknown
        Real point spread function, one axis for each axis of ``shape``. ``Unknown(shape=(25, 25))``, as large as the
        blur may be, is estimated from the photograph's edges (blind deconvolution), at best up to a shift.
    shape : tuple of int
        Shape of the measurement, in pixels.
    boundary : {"periodic", "reflecting", "unknown"}
        ``periodic``: the image wraps around; it has the shape of the measurement, and everything is closed form.
        ``reflecting``: the image is mirrored about the outer edge of its outer pixels, as by
        ``scipy.ndimage.convolve(x, psf, mode="reflect")``. Closed form where the PSF is symmetric along each axis.
        ``unknown``: nothing is assumed about what lies outside the frame. The image is larger than the measurement by
        at least ``psf.shape - 1`` (rounded up to a length with a fast transform) and only what was seen is modelled,
        ``y = crop(psf * x)``; ``x[..., *A.interior]`` is the part of the image in the measurement's frame.
    method : {"auto", "fft", "direct", "separable", "rows"}
        How numpy images are convolved; the results are the same to rounding. ``fft``: by transforms. ``direct``: as a
        sum over the entries of the PSF that are not zero. ``separable``: one axis after the other, where the PSF is
        the outer product of its profiles. ``rows``: by transforms along the rows, and a sum over those of the PSF.
        ``auto``: the quickest by measured costs. Tensors always take ``fft``.

    Attributes
    ----------
    method : str
        The method taken.
    interior : tuple of slice
        Where the measurement's frame lies in the image.

    Raises
    ------
    ShapeError
        The PSF has another number of axes than ``shape``, or is larger.
    DTypeError, NonFiniteError, ArgumentError
        The PSF is complex, holds NaN, or is zero everywhere; ``method`` does not suit it.

    References
    ----------
    M. S. C. Almeida, M. A. T. Figueiredo, "Deconvolving images with unknown boundaries using the alternating direction
    method of multipliers", IEEE Trans. Image Process. 22 (2013).
    M. K. Ng, R. H. Chan, W.-C. Tang, "A fast algorithm for deblurring models with Neumann boundary conditions", SIAM
    J. Sci. Comput. 21 (1999): the closed form under reflecting boundaries.
    L. Xu, S. Zheng, J. Jia, "Unnatural L0 sparse representation for natural image deblurring", CVPR 2013; J. Pan,
    Z. Hu, Z. Su, M.-H. Yang, "Deblurring text images via L0-regularized intensity and gradient prior", CVPR 2014: the
    estimate of an unknown PSF.

    Examples
    --------
    >>> A = Blur(np.full((3, 3), 1 / 9), shape=(64, 64))
    >>> A(np.ones((64, 64))).round(6).max(), round(A.norm(), 6)
    (np.float64(1.0), 1.0)
    """

    interior: tuple[slice, ...]
    parameters = ("psf",)

    def __init__(
        self,
        psf: Any,
        shape: Sequence[int],
        boundary: Boundary = "periodic",
        method: Method = "auto",
    ):
        shape = shape_argument("shape", shape)
        self.psf = point_spread_function(psf, shape)
        self.boundary: Boundary = one_of("boundary", boundary, BOUNDARIES)
        convolution, self.method = convolution_for(
            self.psf, shape, one_of("method", method, METHODS), periodic=boundary == "periodic"
        )
        in_shape = extended(shape, self.psf.shape) if boundary == "unknown" else shape
        super().__init__(in_shape, shape)
        around = reach(self.psf)
        start = around[0] if boundary == "unknown" else (0,) * len(shape)
        self.interior = tuple(slice(i, i + n) for i, n in zip(start, shape, strict=True))
        self._transform = self._by_transform()
        self._sum = None if convolution is None else BorderedSum(convolution, around, (in_shape, shape), boundary)

    def _by_transform(self) -> Periodic | Cosine | Reflecting | Unknown:
        if self.boundary == "periodic":
            return Periodic(psf_spectrum(self.psf, self.in_shape))
        if self.boundary == "reflecting":
            return (Cosine if is_symmetric(self.psf) else Reflecting)(self.psf, self.in_shape)
        self._crop, self._blur = Crop(self.in_shape, self.interior), Blur(self.psf, self.in_shape, method="fft")
        return Unknown(self._blur._diagonalised, self.in_shape, self.interior)

    @property
    def _diagonalised(self) -> Any:
        """The transform after which the normal operator is diagonal, or None."""
        return self._transform if isinstance(self._transform, (Periodic, Cosine)) else None

    def _body(self, x: Array) -> Any:
        return self._transform if self._sum is None or arrays.is_torch(x) else self._sum

    def _apply(self, x: Array) -> Array:
        return self._body(x).forward(x)

    def _adjoint(self, y: Array) -> Array:
        return self._body(y).adjoint(y)

    def gram(self, x: Array) -> Array:
        if self._body(x) is self._sum:
            return super().gram(x)
        return self._transform.gram(self._admit(x, "x", self.in_shape))

    def transfer(self) -> np.ndarray | None:
        return psf_spectrum(self.psf, self.in_shape) if self.boundary == "periodic" else None

    def fourier_gram(self) -> np.ndarray | None:
        return self._diagonalised.eigenvalues if self.boundary == "periodic" else None

    def norm(self) -> float:
        if self._diagonalised is None:
            return self._certified_norm
        return math.sqrt(float(self._diagonalised.eigenvalues.max()))

    def _iterate_norm(self) -> float:
        if self.boundary == "reflecting":
            return super()._iterate_norm()
        upper = self._blur.norm()
        if upper <= TIGHTNESS * self._reached():
            return upper
        return lanczos_norm(self.gram, self.in_shape, upper=upper)

    @property
    def nonnegative_but_rounding(self) -> bool:
        return bool(self.psf.min() >= 0)

    def _reached(self) -> float:
        """Lower bound of the norm, from the strongest frequency under a window that fades out towards the edges."""
        peak = np.unravel_index(np.argmax(self._blur._diagonalised.eigenvalues), self.in_shape)
        wave = np.ones((), dtype=complex)
        for n, k in zip(self.in_shape, peak, strict=True):
            i = np.arange(n) + 0.5
            wave = np.multiply.outer(wave, np.sin(np.pi * i / n) * np.exp(2j * np.pi * k * i / n))
        return float(np.linalg.norm(self(wave)) / np.linalg.norm(wave))

    @property
    def has_solve_shifted(self) -> bool:
        return self._diagonalised is not None

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if self._diagonalised is None:
            return LinearOperator._solve_shifted(self, b, rho)
        return self._diagonalised.solve(b, rho)

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        if self.boundary == "unknown":
            return self._crop, self._blur
        return (Identity(self.out_shape), self) if self.boundary == "periodic" else None

    def objection(self, y: Array) -> str | None:
        """Whether what a periodic blur cannot produce, noise apart, is found along the border of ``y``."""
        if self.boundary != "periodic":
            return None
        ratio = self._border_excess(arrays.to_numpy(y).real)
        if ratio < CONTRADICTING_BORDER:
            return None
        return (
            f"y does not wrap around, as Blur(boundary='periodic') says: what this blur cannot produce is {ratio:.1f} "
            "times stronger along the border than inside, and will be amplified. Build it with boundary='unknown'."
        )

    def _border_excess(self, y: np.ndarray) -> float:
        """Root mean square along the border over that inside, of the frequencies that the blur all but removes."""
        gram = self._diagonalised.eigenvalues
        removed = gram < REMOVED * gram.max()
        within = np.zeros(gram.shape, bool)
        sides = zip(gram.shape, self.psf.shape, strict=True)
        within[tuple(slice(k, n - k) if k > 1 else slice(None) for n, k in sides)] = True
        if removed.mean() * min(within.sum(), (~within).sum()) < FEW:
            return 0.0
        energy = arrays.filter_fourier(y, removed, gram.ndim)
        energy *= energy
        outer, inner = (float(energy.mean(where=where, dtype=float)) for where in (~within, within))
        return math.sqrt(outer / inner) if inner > 0 else 0.0

    @classmethod
    def neutral(cls, name: str, unknown: UnknownParameter, arguments: dict[str, Any]) -> np.ndarray:
        size = unknown.shape if unknown.start is None else unknown.start.shape
        if size is None:
            raise ShapeError(
                "psf is Unknown without a shape; expected one that holds the blur. Pass Unknown(shape=(25, 25)); a "
                "frame that is too large does little harm."
            )
        point = np.zeros(size)
        point[tuple(k // 2 for k in size)] = 1.0
        return point

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        from recon.operators._blind_psf import estimated_psf

        return {"psf": estimated_psf(y, names["psf"], periodic=arguments["boundary"] == "periodic")}

    def in_parameter(self, name: str, x: np.ndarray) -> LinearOperator:
        from recon.operators._of_the_psf import OfThePSF

        seen = self.interior
        if self.boundary == "reflecting":
            around = list(zip(*reach(self.psf), strict=True))
            x = np.pad(x, [(0, 0)] * (x.ndim - len(around)) + around, mode="symmetric")
            seen = tuple(slice(low, low + n) for (low, _), n in zip(around, self.out_shape, strict=True))
        return OfThePSF(x, self.psf.shape, seen)

    def __repr__(self) -> str:
        return f"Blur({self.out_shape}, psf {self.psf.shape}, boundary={self.boundary!r})"


def one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    """``value`` if it is among the known names, or say which they are."""
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(map(repr, known))
        raise OptionError(f"{name} is {value!r}; expected one of {listed}.{suggestion(value, known)} Pass one of them.")
    return value


def point_spread_function(psf: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a PSF as float64, or say what is wrong with it."""
    values = arrays.to_numpy(psf)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"psf has dtype {values.dtype}; expected real numbers. Pass a real array, such as psf.real.")
    if values.ndim != len(shape):
        raise ShapeError(
            f"psf has {values.ndim} axes, shape {values.shape}; expected {len(shape)}, one for each axis of shape "
            f"{shape}. Reshape the psf; bands and slices are leading axes of x and share it."
        )
    require_finite("psf", values, "Crop or replace them; a psf is measured or modelled everywhere.")
    if values.size == 0 or any(k > n for k, n in zip(values.shape, shape, strict=True)):
        raise ShapeError(
            f"psf has shape {values.shape}; expected at least one entry and at most {shape}, the shape of the image. "
            "Crop the psf around its peak."
        )
    if not values.any():
        raise ArgumentError("psf is zero everywhere; expected at least one entry that is not. Pass the measured psf.")
    return values.astype(np.float64)
