"""Products with known factors: one for each sample, or one for each frequency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators._fourier import filter_half, half
from recon.operators.base import LinearOperator
from recon.operators.pointwise import boolean_mask
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument

ROUNDING = 1e-10  # relative asymmetry of a transfer function that is rounding


class Diagonal(LinearOperator):
    """Every sample has a known factor: ``y = values * x``, as shading, gains, apodisation or density weights.

    Parameters
    ----------
    values : array
        Real or complex factors; complex ones give an operator on complex images. Where a factor is zero, nothing is
        measured.
    shape : tuple of int, optional
        Shape of the image, to which ``values`` broadcasts; by default that of ``values``.

    Raises
    ------
    ShapeError
        ``values`` does not broadcast to ``shape``.
    DTypeError, NonFiniteError, ArgumentError
        ``values`` are not numbers, not finite, or zero everywhere.

    Examples
    --------
    >>> A = Diagonal([1.0, 2.0], shape=(3, 2))  # one gain a column
    >>> A(np.ones((3, 2)))[0], A.norm()
    (array([1., 2.]), 2.0)
    """

    pointwise = True

    def __init__(self, values: Any, shape: Sequence[int] | None = None):
        self.values = _factors("values", values, None if shape is None else shape_argument("shape", shape))
        super().__init__(self.values.shape, self.values.shape)
        self.kind = "complex" if np.iscomplexobj(self.values) else "any"
        self.nonnegative = self.kind == "any" and bool(self.values.min() >= 0)
        self.sampling = None if self.values.all() else self.values != 0
        self._factor, self._conjugate = Constant(self.values), Constant(self.values.conj())
        self._square = Constant(self.diagonal_gram())

    def _apply(self, x: Array) -> Array:
        return x * self._factor.like(x)

    def _adjoint(self, y: Array) -> Array:
        return y * self._conjugate.like(y)

    def gram(self, x: Array) -> Array:
        x = self._admit(x, "x", self.in_shape)
        return x * self._square.like(x)

    def diagonal_gram(self) -> np.ndarray:
        return self.values.real**2 + self.values.imag**2

    def sensitivity(self) -> np.ndarray:
        return self.diagonal_gram()

    def norm(self) -> float:
        return float(np.abs(self.values).max())

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        return Diagonal(self.values * boolean_mask("sampling", sampling, shape=self.in_shape))

    @property
    def H(self) -> LinearOperator:
        return Diagonal(self.values.conj())

    def __repr__(self) -> str:
        return f"Diagonal({self.in_shape})"


class FrequencyResponse(LinearOperator):
    """A periodic filter given by its transfer function: ``y = F^-1 (response * F x)``.

    Parameters
    ----------
    response : array or callable
        Factor of each frequency, in FFT order (``np.fft.ifftshift`` of one with the zero frequency at its centre); or a
        function of the frequencies of each axis, in cycles per pixel, ``response(fy, fx)``.
    shape : tuple of int, optional
        Shape of the image, to which ``response`` broadcasts; a function needs it.
    real : bool, optional
        Whether real images stay real. True takes the part of the response that keeps them real,
        ``(H(f) + conj(H(-f))) / 2``. By default it is found out: a response that is such by itself filters real and
        complex images alike, any other one gives an operator on complex images.

    Raises
    ------
    ShapeError
        ``response`` does not broadcast to ``shape``, or ``shape`` is missing.
    DTypeError, NonFiniteError, ArgumentError
        ``response`` does not hold numbers, not finite ones, or only zeros.

    Examples
    --------
    >>> A = FrequencyResponse(lambda fy, fx: 1 / (1 + 100 * (fy**2 + fx**2)), shape=(32, 32))
    >>> A(np.ones((32, 32))).round(6).max(), A.kind
    (np.float64(1.0), 'any')
    """

    def __init__(
        self,
        response: Any | Callable[..., Any],
        shape: Sequence[int] | None = None,
        real: bool | None = None,
    ):
        axes = None if shape is None else shape_argument("shape", shape)
        self.response = _factors("response", _evaluated(response, axes), axes)
        super().__init__(self.response.shape, self.response.shape)
        hermitian = 0.5 * (self.response + _reversed(self.response).conj())
        if real is None:
            difference = np.abs(hermitian - self.response).max()
            real = bool(difference <= ROUNDING * np.abs(self.response).max())
        elif not isinstance(real, (bool, np.bool_)):
            raise DTypeError(f"real is {real!r}; expected True, False or None. Pass one of them.")
        self.kind = "any" if real else "complex"
        if real:
            self.response = hermitian
        kept = half if real else np.asarray
        self._forward, self._backward = Constant(kept(self.response)), Constant(kept(self.response.conj()))
        self._square = Constant(kept(self.fourier_gram()))

    def _apply(self, x: Array) -> Array:
        return self._filter(x, self._forward)

    def _adjoint(self, y: Array) -> Array:
        return self._filter(y, self._backward)

    def gram(self, x: Array) -> Array:
        return self._filter(self._admit(x, "x", self.in_shape), self._square)

    def _filter(self, x: Array, response: Constant) -> Array:
        if self.kind == "any":
            return filter_half(x, response.like(x), len(self.in_shape))
        return arrays.filter_fourier(x, response.like(x), len(self.in_shape))

    def transfer(self) -> np.ndarray:
        return self.response.astype(np.complex128)

    def fourier_gram(self) -> np.ndarray:
        return self.response.real**2 + self.response.imag**2

    def norm(self) -> float:
        return float(np.abs(self.response).max())

    @property
    def H(self) -> LinearOperator:
        return FrequencyResponse(self.response.conj(), real=self.kind == "any")

    def __repr__(self) -> str:
        return f"FrequencyResponse({self.in_shape})"


def _factors(name: str, values: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """Real or complex factors of the shape of the image, in double precision."""
    out = arrays.to_numpy(values)
    if out.dtype.kind not in "biufc":
        raise DTypeError(f"{name} has dtype {out.dtype}; expected numbers. Convert it, for example to float64.")
    if out.ndim == 0 and shape is None:
        raise ShapeError(f"{name} is a single value; expected an array, or shape. Pass shape as well.")
    if shape is not None:
        try:
            out = np.broadcast_to(out, shape)
        except ValueError:
            raise ShapeError(
                f"{name} has shape {out.shape}; expected {shape} or one that broadcasts to it. Pass such an array."
            ) from None
    shape_argument(name, out.shape)
    require_finite(name, out, "Replace them; where nothing is measured, the factor is zero.")
    if not out.any():
        raise ArgumentError(f"{name} is zero everywhere; expected at least one factor that is not. Check the array.")
    return np.array(out, dtype=np.complex128 if out.dtype.kind == "c" else np.float64)


def _evaluated(response: Any, shape: tuple[int, ...] | None) -> Any:
    if not callable(response):
        return response
    if shape is None:
        raise ShapeError("shape is missing; a function does not say where to evaluate it. Pass the image's shape.")
    return response(*np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True))


def _reversed(response: np.ndarray) -> np.ndarray:
    """The response at the negative frequencies."""
    axes = tuple(range(response.ndim))
    return np.roll(np.flip(response, axes), 1, axes)
