"""Magnetic resonance imaging with samples on a Cartesian grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.pointwise import boolean_mask
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, ShapeError
from solvers.step_sizes import lanczos_norm
from solvers.validation import require_finite


class CartesianMRI(LinearOperator):
    r"""Undersampled k-space of an image seen by one or several coils: ``y_c = m F (s_c x)``.

    ``F`` is the centred orthonormal Fourier transform, ``fftshift(fftn(ifftshift(x), norm="ortho"))``: the zero
    frequency stands at ``n // 2``. Samples that are not measured read zero.

    Parameters
    ----------
    mask : array of bool, shape (ky, kx)
        True where k-space is measured, zero frequency at the centre. Any number of axes.
    coils : array of complex, shape (coils, ky, kx), optional
        Sensitivities ``s_c``. None is one coil of sensitivity one, and k-space then has no coil axis.

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

    def __init__(self, mask: Any, coils: Any = None):
        self.mask = boolean_mask("mask", mask)
        self.coils = None if coils is None else sensitivities(coils, self.mask.shape)
        shape = self.mask.shape
        super().__init__(shape, shape if self.coils is None else self.coils.shape)
        self.sampling = np.broadcast_to(self.mask, self.out_shape)
        # fftshift(fftn(ifftshift(x))) = after * fftn(before * x): two products with constants instead of two copies.
        before, after = _shift_phases(shape)
        self._before = Constant(before if self.coils is None else before * self.coils)
        self._before_conj = Constant(self._before.double.conj())
        self._after = Constant(self.mask * after)
        self._after_conj = Constant(self._after.double.conj())
        self._axes = tuple(range(-len(shape), 0))

    def _apply(self, x: Array) -> Array:
        if self.coils is not None:
            x = x[(..., None, *(slice(None),) * len(self.in_shape))]
        k_space = arrays.fftn(x * self._before.like(x), self._axes, ortho=True)
        return _scaled(k_space, self._after.like(x))

    def _adjoint(self, y: Array) -> Array:
        seen = arrays.fftn(y * self._after_conj.like(y), self._axes, inverse=True, ortho=True)
        seen = _scaled(seen, self._before_conj.like(y))
        return seen if self.coils is None else seen.sum(-1 - len(self.in_shape))

    def fourier_gram(self) -> np.ndarray | None:
        return np.fft.ifftshift(self.mask).astype(np.float64) if self.coils is None else None

    def diagonal_gram(self) -> np.ndarray | None:
        return self._strength() if self.mask.all() else None

    def _strength(self) -> np.ndarray:
        """``sum_c |s_c|^2``."""
        if self.coils is None:
            return np.ones(self.in_shape)
        return (self.coils.real**2 + self.coils.imag**2).sum(axis=0)

    def _iterate_norm(self) -> float:
        # Losing samples only lowers the norm; often hardly.
        upper = math.sqrt(float(self._strength().max()))
        return lanczos_norm(self.gram, self.in_shape, complex_start=True, upper=upper)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        sampling = boolean_mask("sampling", sampling, shape=self.out_shape)
        if self.coils is not None and (sampling != sampling[:1]).any():
            return super().with_sampling(sampling)  # coils that are sampled differently
        return CartesianMRI(self.mask & (sampling if self.coils is None else sampling[0]), self.coils)

    def __repr__(self) -> str:
        coils = "" if self.coils is None else f", {len(self.coils)} coils"
        return f"CartesianMRI({self.in_shape}, {self.mask.mean():.1%} measured{coils})"


def _scaled(fresh: Array, factor: Array) -> Array:
    # The transform's result is ours to overwrite, except where torch may need it for a gradient.
    return fresh * factor if arrays.is_torch(fresh) else np.multiply(fresh, factor, out=fresh)


def sensitivities(coils: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check coil sensitivities for images of ``shape``; returns them as complex128, (coils, *shape)."""
    values = arrays.to_numpy(coils)
    if values.dtype.kind not in "biufc":
        raise DTypeError(f"coils has dtype {values.dtype}; expected complex sensitivities. Convert it to complex64.")
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape:
        raise ShapeError(
            f"coils has shape {values.shape}; expected (coils, {', '.join(map(str, shape))}), the image's shape after "
            "the coil axis. Move the coil axis first, or pass a mask or shape that is the coils'."
        )
    require_finite("coils", values, "Set sensitivities outside the object to zero: np.nan_to_num(coils).")
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
