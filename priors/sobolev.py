"""Quadratic smoothness of any order: the closed form in Fourier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from priors.base import Prior
from priors.differences import Gradient
from priors.quadratic import Tikhonov
from solvers import arrays
from solvers.arrays import Array
from solvers.protocols import Term
from solvers.validation import positive_float


@dataclass(frozen=True)
class FractionalLaplacian:
    """``K = (-Laplace)^(order / 2)`` for periodic images: differences of any order, real or not.

    ``K`` multiplies the spectrum by ``S^(order / 2)``, ``S = sum_d |D_d|^2`` being that of the differences of
    neighbouring pixels; it is its own adjoint.

    Parameters
    ----------
    order : float
        Order of differentiation, above 0. 2 is the discrete Laplacian.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    """

    order: float = 2.0
    ndim: int = 2
    spacing: Any = None

    def __call__(self, x: Array) -> Array:
        return arrays.filter_fourier(x, self._spectrum(tuple(x.shape)) ** (0.5 * self.order), self.ndim)

    def adjoint(self, z: Array) -> Array:
        """``K z``."""
        return self(z)

    def norm(self) -> float:
        """Upper bound of the largest singular value, attained for even sizes."""
        return float(self._gradient.norm() ** self.order)

    def fourier_gram(self, shape: Sequence[int]) -> np.ndarray:
        """Eigenvalues of ``K^H K`` over the frequencies of ``shape``, in FFT order."""
        return np.asarray(self._spectrum(shape) ** self.order)

    @property
    def _gradient(self) -> Gradient:
        return Gradient(self.ndim, self.spacing, periodic=True)

    def _spectrum(self, shape: Sequence[int]) -> np.ndarray:
        spectrum = self._gradient.fourier_gram(shape)
        assert spectrum is not None
        return spectrum


@dataclass(frozen=True)
class Sobolev(Prior):
    """``g(x) = 1/2 |(-Laplace)^(order / 2) x|^2`` of a periodic image: smoothness of an order.

    ``order=1`` is half the energy of the gradient (membrane), ``order=2`` that of the Laplacian (thin plate), and
    ``order=1.5`` suits images whose spectrum falls as ``|frequency|^-1.5``. ``prox(v, step)`` divides the spectrum by
    ``1 + step * S^order``: two transforms. Images whose opposite borders differ ring a little there.

    Parameters
    ----------
    order : float
        Order of differentiation, above 0.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.

    References
    ----------
    Wahba 1990, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Sobolev
    >>> x = np.cos(2 * np.pi * np.arange(8) / 8)
    >>> round(float(Sobolev(2, ndim=1).prox(x, 1.0)[0]), 6)  # 1 / (1 + (2 - sqrt(2))^2)
    0.744521
    """

    order: float = 1.0
    ndim: int = 2
    spacing: Any = None

    is_quadratic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", positive_float("order", self.order))
        object.__setattr__(self, "spacing", Gradient(self.ndim, self.spacing).spacing)

    @property
    def image_ndim(self) -> int:
        return self.ndim

    def terms(self) -> tuple[Term, ...]:
        """One quadratic term."""
        return self._tikhonov.terms()

    def gradient(self, x: Array) -> Array:
        """``(-Laplace)^order x``."""
        return self._tikhonov.gradient(x)

    @property
    def _tikhonov(self) -> Tikhonov:
        return Tikhonov(FractionalLaplacian(self.order, self.ndim, self.spacing))

    def _value(self, x: Array) -> Any:
        return self._tikhonov.value(x)

    def _prox(self, v: Array, step: Any) -> Array:
        return self._tikhonov.prox(v, step)


class Laplacian(Sobolev):
    """``g(x) = 1/2 |Laplace x|^2`` of a periodic image: a smooth one, as a thin plate; :class:`Sobolev` of order 2."""

    def __init__(self, ndim: int = 2, spacing: Any = None) -> None:
        super().__init__(2.0, ndim, spacing)

    def __repr__(self) -> str:
        return f"Laplacian(ndim={self.ndim}, spacing={self.spacing})"
