"""Several coarse frames of one scene, each shifted by a fraction of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from recon.operators._antialias import antialiasing_psf
from recon.operators._blur_bodies import psf_spectrum
from recon.operators._constants import Constant
from recon.operators._fourier import as_complex, half
from recon.operators._spectra import accumulate, inverse_real, times, times_conj
from recon.operators.base import LinearOperator
from recon.operators.blur import point_spread_function
from recon.operators.downsample import whole_blocks
from recon.operators.pointwise import Identity, embed
from recon.operators.shift import axis_response, shift_vectors
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ShapeError
from solvers.validation import shape_argument

LARGEST_CLOSED_FORM = 2**24
"""Entries of the eigenvectors up to which the closed form is worked out: some 400 megabytes to keep."""


class MultiFrame(LinearOperator):
    r"""Coarse frames of a fine image that moves between them: ``y[k] = D H S_k x``.

    ``S_k`` is the periodic :class:`Shift` by ``shifts[k]`` fine pixels, ``H`` and ``D`` the blur and the decimation of
    :class:`Downsample`. Frames that see different fractions of a pixel hold together what none of them holds alone.

    The borders wrap around; leave a margin of the blur and the shifts out of account where they do not.

    At each coarse frequency the frames see mixtures of the ``factor ** d`` fine frequencies that it stands for; the
    normal operator is a small matrix there, which gives ``solve_shifted`` its closed form.

    Parameters
    ----------
    shifts : array (frames, axes)
        How far the content of each frame has moved, in fine pixels, as found by registration.
    factor : int or tuple of int
        Fine pixels to a coarse one, for all axes or for each.
    shape : tuple of int
        Shape of the fine image; ``factor`` divides it.
    psf : {"area", "bicubic", "gaussian"} or array, optional
        As in :class:`Downsample`.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``shifts`` is not (frames, axes) of finite real numbers; what :class:`Downsample` raises for the rest.

    References
    ----------
    R. Y. Tsai, T. S. Huang, "Multiframe image restoration and registration", Adv. Comput. Vis. Image Process. 1 (1984):
    the mixtures of aliases.

    Examples
    --------
    >>> A = MultiFrame([[0, 0], [0, 1], [1, 0], [1, 1]], factor=2, shape=(64, 64))
    >>> A(np.ones((64, 64))).shape
    (4, 32, 32)
    """

    def __init__(self, shifts: Any, factor: Any, shape: Sequence[int], psf: Any = None):
        shape = shape_argument("shape", shape)
        self.factor = whole_blocks(factor, shape)
        values = arrays.to_numpy(shifts)
        if values.ndim != 2 or len(values) == 0:
            raise ShapeError(
                f"shifts has shape {values.shape}; expected (frames, {len(shape)}) and at least one frame. "
                "Pass one row for each frame."
            )
        self.shifts = shift_vectors("shifts", values, (len(values), len(shape)))
        if psf is None or isinstance(psf, str):
            psf = antialiasing_psf(psf or "area", self.factor, shape)
        self.psf = point_spread_function(psf, shape)
        self._coarse = tuple(n // f for n, f in zip(shape, self.factor, strict=True))
        super().__init__(shape, (len(values), *self._coarse))
        self._spectrum_of_psf = psf_spectrum(self.psf, shape)
        self._response = Constant(half(self._spectrum_of_psf))
        # Shifts act on each axis alone, and so do decimations: a factor for each frequency of each axis. Those of the
        # last axis, of which real images have half the frequencies, are decimated after the transform.
        self._folds = [[Constant(p) for p in phases[:-1]] for phases in self._phases()]
        self._along = [Constant(half(axis_response(shape[-1], shift[-1]))) for shift in self.shifts]
        self._kept = slice((self.factor[-1] - 1) // 2, None, self.factor[-1])

    def _phases(self) -> list[list[np.ndarray]]:
        """Shift and choice of the pixel of each block, for each frame and axis, as factors of the frequencies."""
        sizes = list(zip(self.in_shape, self.factor, strict=True))
        return [[_phase(n, f, s) for (n, f), s in zip(sizes, shift, strict=True)] for shift in self.shifts]

    def _apply(self, x: Array) -> Array:
        if arrays.is_complex(x):
            return as_complex(self._apply(x.real), self._apply(x.imag))
        spectrum = times(arrays.rfftn(x, self._axes), self._response.like(x))
        frames = [self._frame(spectrum, *phases) for phases in zip(self._folds, self._along, strict=True)]
        return arrays.namespace(x).stack(frames, -len(self._coarse) - 1)

    def _adjoint(self, y: Array) -> Array:
        if arrays.is_complex(y):
            return as_complex(self._adjoint(y.real), self._adjoint(y.imag))
        return inverse_real(self._spread(y), self.in_shape)

    def _spread(self, y: Array) -> Array:
        """Half spectrum of the adjoint."""
        frames = [y[(..., k, *(slice(None),) * len(self._coarse))] for k in range(len(self.shifts))]
        total = arrays.zeros((), y)
        for frame, folds, along in zip(frames, self._folds, self._along, strict=True):
            total = accumulate(total, self._frame_spectrum(frame, folds, along))
        return times_conj(total, self._response.like(y))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.in_shape), 0))

    def _frame(self, spectrum: Array, folds: list[Constant], along: Constant) -> Array:
        """A frame, from the half spectrum of the blurred image."""
        for axis, f, fold in zip(self._axes, self.factor, folds, strict=False):
            spectrum = _fold(spectrum, fold.like(spectrum), f, axis)
        # A new array, which the transform may overwrite.
        rows = inverse_real(spectrum * along.like(spectrum), (*self._coarse[:-1], self.in_shape[-1]))
        return rows[..., self._kept]

    def _frame_spectrum(self, frame: Array, folds: list[Constant], along: Constant) -> Array:
        """Adjoint of :meth:`_frame`, but for the number of pixels by which forth and back differ."""
        shape = (*self._coarse[:-1], self.in_shape[-1])
        everything = (slice(None),) * (len(shape) - 1)
        spectrum = arrays.rfftn(embed(frame, shape, (*everything, self._kept)), self._axes)
        spectrum = times_conj(spectrum, along.like(spectrum))
        for axis, f, fold in zip(self._axes, self.factor, folds, strict=False):
            copies = arrays.namespace(frame).concatenate([spectrum] * f, spectrum.ndim + axis)
            spectrum = times(copies, f * _broadcast(fold.like(spectrum).conj(), axis))
        return spectrum

    def _blocks(self, values: Array) -> Array:
        """(..., *fine) as (..., *coarse, aliases)."""
        batch = values.ndim - len(self.in_shape)
        split = [n for f, c in zip(self.factor, self._coarse, strict=True) for n in (f, c)]
        blocks = values.reshape((*values.shape[:batch], *split))
        coarse = [batch + 2 * a + 1 for a in range(len(self._coarse))]
        order = (*range(batch), *coarse, *(a - 1 for a in coarse))
        moved = blocks.permute(order) if arrays.is_torch(blocks) else blocks.transpose(order)
        return moved.reshape((*values.shape[:batch], *self._coarse, -1))

    def _unblocks(self, blocks: Array) -> Array:
        """Inverse of :meth:`_blocks`."""
        ndim = len(self._coarse)
        batch = blocks.ndim - ndim - 1
        moved = blocks.reshape((*blocks.shape[:-1], *self.factor))
        order = (*range(batch), *(batch + a + b for a in range(ndim) for b in (ndim, 0)))
        moved = moved.permute(order) if arrays.is_torch(moved) else moved.transpose(order)
        return moved.reshape((*blocks.shape[:batch], *self.in_shape))

    def _gram_blocks(self) -> np.ndarray:
        """``A^H A`` at each coarse frequency, (*coarse, aliases, aliases)."""
        rows = [self._blocks(self._spectrum_of_psf * reduce(np.multiply.outer, phases)) for phases in self._phases()]
        seen = np.stack(rows, axis=-2)
        return math.prod(self.factor) * np.matmul(seen.conj().swapaxes(-1, -2), seen)

    @cached_property
    def _eigen(self) -> tuple[Constant, Constant]:
        values, vectors = np.linalg.eigh(self._gram_blocks())
        return Constant(np.maximum(values, 0.0)), Constant(vectors)

    def norm(self) -> float:
        return self._certified_norm

    def _iterate_norm(self) -> float:
        if not self.has_solve_shifted:
            return super()._iterate_norm()
        largest = np.linalg.eigvalsh(self._gram_blocks())[..., -1].max()
        return math.sqrt(float(largest)) * (1 + 1e-12)

    @property
    def has_solve_shifted(self) -> bool:
        return math.prod(self.in_shape) * math.prod(self.factor) <= LARGEST_CLOSED_FORM

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if not self.has_solve_shifted:
            return LinearOperator._solve_shifted(self, b, rho)
        if np.ndim(rho):  # one shift an image: it stands before the coarse frequencies and the aliases
            rho = rho[..., None]
        values, vectors = (constant.like(b) for constant in self._eigen)
        blocks = self._blocks(arrays.fftn(_as_complex(b), self._axes))[..., None]
        inner = (vectors.conj().swapaxes(-1, -2) @ blocks)[..., 0] / (values + rho)
        out = arrays.fftn(self._unblocks((vectors @ inner[..., None])[..., 0]), self._axes, inverse=True)
        return out if arrays.is_complex(b) else _real(out)

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        return (self, Identity(self.in_shape)) if self.has_solve_shifted else None

    def __repr__(self) -> str:
        return f"MultiFrame({self.in_shape} -> {self.out_shape}, psf {self.psf.shape})"


def _phase(n: int, factor: int, shift: float) -> np.ndarray:
    """Shift of an axis and the choice of the pixel of each block, as factors of its frequencies."""
    kept = np.exp(2j * np.pi * np.arange(n) * ((factor - 1) // 2) / n)
    return axis_response(n, shift) * kept / factor


def _fold(spectrum: Array, factors: Array, blocks: int, axis: int) -> Array:
    """The sum over ``blocks`` equal parts of an axis, each frequency times its factor."""
    n = spectrum.shape[axis] // blocks
    after = (slice(None),) * (-axis - 1)
    parts = (slice(b * n, (b + 1) * n) for b in range(blocks))
    return sum(spectrum[(..., part, *after)] * _broadcast(factors[part], axis) for part in parts)


def _broadcast(values: Array, axis: int) -> Array:
    """A vector that broadcasts along ``axis``."""
    return values.reshape((-1, *(1,) * (-axis - 1)))


def _as_complex(x: Array) -> Array:
    dtype = arrays.complex_dtype(x)
    return x.to(dtype) if arrays.is_torch(x) else x.astype(dtype, copy=False)


def _real(x: Array) -> Array:
    return x.real.contiguous() if arrays.is_torch(x) else np.ascontiguousarray(x.real)
