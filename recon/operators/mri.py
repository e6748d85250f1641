"""Magnetic resonance imaging with samples on a Cartesian grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._coils import Coils, seen_from_centre
from recon.operators._combinations import scaled
from recon.operators._constants import Constant
from recon.operators._mean_response import seen_on_average
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Mask, boolean_mask
from recon.operators.unknown import Parametrised, Unknown
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.step_sizes import lanczos_norm
from solvers.validation import require_finite

EQUAL = 1e-12  # relative spread of the squared sensitivities that is rounding


class CartesianMRI(Parametrised, LinearOperator):
    r"""Undersampled k-space of an image seen by one or several coils: ``y_c = m F (s_c x)``.

    ``F`` is the centred orthonormal Fourier transform, ``fftshift(fftn(ifftshift(x), norm="ortho"))``: the zero
    frequency stands at ``n // 2``. Samples that are not measured read zero.

    Parameters
    ----------
    mask : array of bool, shape (ky, kx)
        True where k-space is measured, zero frequency at the centre. Any number of axes.
    coils : array of complex, shape (coils, ky, kx), Unknown, optional
        Sensitivities ``s_c``. None is one coil of sensitivity one, and k-space then has no coil axis. Unknown ones,
        ``Unknown(shape=(coils, ky, kx))``, are found with the image by :func:`recon.coils.nlinv`.

    Raises
    ------
    ShapeError
        The shapes of ``mask`` and ``coils`` differ.
    DTypeError, ArgumentError, NonFiniteError
        ``mask`` is not boolean or measures nothing, ``coils`` are not numbers or not finite.

    References
    ----------
    K. P. Pruessmann et al., "SENSE: sensitivity encoding for fast MRI", Magn. Reson. Med. 42 (1999).

    Examples
    --------
    >>> A = CartesianMRI(np.ones((4, 4), dtype=bool))
    >>> abs(A(np.ones((4, 4))).round(6))[2]
    array([0., 0., 4., 0.])
    """

    kind = "complex"
    sampling: np.ndarray
    parameters = ("coils",)

    def __init__(self, mask: Any, coils: Any = None):
        self.mask = boolean_mask("mask", mask)
        self.coils = None if coils is None else sensitivities(coils, self.mask.shape)
        shape = self.mask.shape
        super().__init__(shape, shape if self.coils is None else self.coils.shape)
        self.sampling = np.broadcast_to(self.mask, self.out_shape)
        # fftshift(fftn(ifftshift(x))) = after * fftn(before * x): two products with constants instead of two copies.
        before, after = _shift_phases(shape)
        self._coils = Coils(before[None] if self.coils is None else before * self.coils, shape)
        self._mask = Constant(self.mask.astype(np.float64))
        self._after = Constant(self.mask * after)
        self._after_conj = Constant(self._after.double.conj())
        self._axes = tuple(range(-len(shape), 0))

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        shape = np.shape(arguments["mask"])
        if unknown.shape is None or len(unknown.shape) != len(shape) + 1:
            raise ArgumentError(
                f"coils is Unknown of shape {unknown.shape}; expected (coils, {', '.join(map(str, shape))}). "
                "Pass Unknown(shape=...), which says how many there are."
            )
        return np.full(unknown.shape, unknown.shape[0] ** -0.5, dtype=complex)

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        from recon.coils import nlinv

        if y.ndim != len(names["coils"]):
            raise ShapeError(
                f"y has shape {y.shape}; expected {names['coils']}, one image whose coils are unknown. "
                "Reconstruct them one by one, or find the coils first: recon.coils.nlinv."
            )
        return {"coils": nlinv(y)}

    def _apply(self, x: Array) -> Array:
        k_space = scaled(arrays.fftn(self._coils.all_seen(x), self._axes, ortho=True), self._after.like(x))
        return k_space if self.coils is not None else k_space.reshape(x.shape)

    def _adjoint(self, y: Array) -> Array:
        k_space = y if self.coils is not None else y[(..., None, *(slice(None),) * len(self.in_shape))]
        seen = arrays.fftn(k_space * self._after_conj.like(y), self._axes, inverse=True, ortho=True)
        return self._coils.together(seen)

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``; no transform along axes on which the mask is constant."""
        return self._coils.gram(self._admit(x, "x", self.in_shape), self._filter)

    def _filter(self, seen: Array, workers: int = 1) -> Array:
        return kept_frequencies(seen, self._mask.like(seen), varying_axes(self.mask), workers)

    def fourier_gram(self) -> np.ndarray | None:
        level = self.level if self.coils is None or self.mask.all() else None
        return None if level is None else level * np.fft.ifftshift(self.mask)

    def diagonal_gram(self) -> np.ndarray | None:
        return self._strength() if self.mask.all() else None

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        """The samples picked of the whole k-space, where an image and its whole k-space have one norm."""
        if self.level is None:
            return super().factors()
        return Mask(self.sampling), CartesianMRI(np.ones_like(self.mask), self.coils)

    @property
    def level(self) -> float | None:
        """``sum_c |s_c|^2`` where it is the same everywhere, else None."""
        strength = self._strength()
        low, high = float(strength.min()), float(strength.max())
        return high if high - low <= EQUAL * high else None

    def sensitivity(self) -> np.ndarray | None:
        return None if self.coils is None else self._coils.strength()

    def impulse_response(self) -> np.ndarray:
        return seen_from_centre(np.fft.ifftn(np.fft.ifftshift(self.mask)), self.coils)

    def mean_response(self) -> np.ndarray:
        return seen_on_average(np.fft.ifftn(np.fft.ifftshift(self.mask)), self.coils)

    def _strength(self) -> np.ndarray:
        """``sum_c |s_c|^2``."""
        strength = self.sensitivity()
        return np.ones(self.in_shape) if strength is None else strength

    def _iterate_norm(self) -> float:
        # Losing samples only lowers the norm; often hardly.
        upper = math.sqrt(float(self._strength().max()))
        return lanczos_norm(self.gram, self.in_shape, complex_start=True, upper=upper)

    def with_coils(self, coils: np.ndarray) -> CartesianMRI:
        """The same scan by other coils."""
        return CartesianMRI(self.mask, coils)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        sampling = boolean_mask("sampling", sampling, shape=self.out_shape)
        if self.coils is not None and (sampling != sampling[:1]).any():
            return super().with_sampling(sampling)  # coils that are sampled differently
        return CartesianMRI(self.mask & (sampling if self.coils is None else sampling[0]), self.coils)

    def __repr__(self) -> str:
        coils = "" if self.coils is None else f", {len(self.coils)} coils"
        return f"CartesianMRI({self.in_shape}, {self.mask.mean():.1%} measured{coils})"


def varying_axes(mask: np.ndarray) -> tuple[int, ...]:
    """The axes along which a mask is not constant; no others need a transform to apply it to an image."""
    return tuple(axis for axis in range(-mask.ndim, 0) if (mask != mask.take([0], axis)).any())


def kept_frequencies(seen: Array, mask: Array, axes: tuple[int, ...], workers: int = 1) -> Array:
    """The frequencies of the mask, of images that carry the phases of a centred transform; no factor follows it.

    That factor has modulus one where the mask does not vanish, and cancels.
    """
    if arrays.is_torch(seen):
        return arrays.fftn(arrays.fftn(seen, axes) * mask, axes, inverse=True) if axes else seen * mask
    if not axes:
        return seen * mask
    import scipy.fft

    spectrum = scipy.fft.fftn(seen, axes=axes, workers=workers)
    np.multiply(spectrum, mask, out=spectrum)
    return scipy.fft.ifftn(spectrum, axes=axes, overwrite_x=True, workers=workers)


def sensitivities(coils: Any, shape: tuple[int, ...], name: str = "coils") -> np.ndarray:
    """Check coil sensitivities, or masks, for images of ``shape``; returns them as complex128, (coils, *shape)."""
    values = arrays.to_numpy(coils)
    if values.dtype.kind not in "biufc":
        raise DTypeError(f"{name} has dtype {values.dtype}; expected complex numbers. Convert it to complex64.")
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape:
        raise ShapeError(
            f"{name} has shape {values.shape}; expected ({name}, {', '.join(map(str, shape))}), the image's shape "
            f"after the axis of the {name}. Move that axis first, or pass a mask or shape that is the {name}'."
        )
    require_finite(name, values, f"Set what lies outside the object to zero: np.nan_to_num({name}).")
    return values.astype(np.complex128)


def _shift_phases(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Factors that centre a transform: with ``h = n // 2``, ``e^(2 pi i h x / n)`` and ``e^(2 pi i h (k - h) / n)``."""
    before, after = np.ones(()), np.ones(())
    for n in shape:
        turns = (n // 2) * np.arange(n) % n  # whole turns are dropped before they cost digits
        before = np.multiply.outer(before, _phase(turns, n))
        after = np.multiply.outer(after, _phase(turns - (n // 2) ** 2 % n, n))
    return before, after


def _phase(turns: np.ndarray, n: int) -> np.ndarray:
    """``e^(2 pi i turns / n)``; an even axis only needs signs."""
    phase = np.exp(2j * np.pi * turns / n)
    return phase.real.round() if n % 2 == 0 else phase
