"""Blur and decimate: the operator of super-resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._antialias import MTF, antialiasing_psf
from recon.operators._constants import Constant
from recon.operators._fourier import fourier_divide
from recon.operators.base import LinearOperator
from recon.operators.blur import Blur
from recon.operators.pointwise import embed, window
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, positive_int, shape_argument


class Downsample(LinearOperator):
    r"""A coarse measurement of a fine image: ``y = D H x``, a periodic blur ``H`` and then one pixel of each block.

    The pixel kept is ``(factor - 1) // 2`` of its block. A PSF of odd size is centred on that pixel, one of even size
    half a pixel beyond it, which for an even factor is the middle of the block: where the field puts a coarse pixel.

    The borders wrap around, for the closed forms; :class:`Resample` mirrors them, as photographs want.

    Parameters
    ----------
    factor : int or tuple of int
        Fine pixels to a coarse one, for all axes or for each.
    shape : tuple of int
        Shape of the fine image, in pixels; ``factor`` divides it.
    psf : {"area", "bicubic", "gaussian"} or array, optional
        ``area``, which is also None, averages each block: ``y[i] = mean(x[factor * i : factor * (i + 1)])``.
        ``bicubic``: the cubic convolution kernel (Keys, a = -1/2) stretched by the factor, which super-resolution is
        mostly measured with, as by MATLAB's ``imresize`` away from the borders. ``gaussian``: a camera of modulation
        transfer ``mtf``. An array is the point spread function on the
        fine grid, as in :class:`Blur`.
    mtf : float, optional
        With ``psf="gaussian"``, the contrast left at the Nyquist frequency of the coarse pixels, between 0 and 1. None
        is 0.3, as of many space cameras.

    Raises
    ------
    ShapeError
        ``factor`` does not divide ``shape``; what :class:`Blur` raises for the PSF.
    DTypeError, OptionError, ArgumentError
        ``factor`` is not an integer (:class:`Resample` takes any ratio); ``psf`` names no kernel;
        ``mtf`` is out of range.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. Acoust. Speech Signal
    Process. 29 (1981).
    N. Zhao, Q. Wei, A. Basarab, N. Dobigeon, D. Kouame, J.-Y. Tourneret, "Fast single image super-resolution using a
    new analytical solution for l2-l2 problems", IEEE Trans. Image Process. 25 (2016): the closed form of
    ``solve_shifted``.

    Examples
    --------
    >>> A = Downsample(2, shape=(2, 4))
    >>> A(np.array([[1.0, 3.0, 5.0, 7.0], [1.0, 3.0, 5.0, 7.0]])).round(6)
    array([[2., 6.]])
    """

    def __init__(self, factor: Any, shape: Sequence[int], psf: Any = None, mtf: float | None = None):
        shape = shape_argument("shape", shape)
        self.factor = whole_blocks(factor, shape)
        mtf = _transfer(mtf, psf)
        if psf is None or isinstance(psf, str):
            psf = antialiasing_psf(psf or "area", self.factor, shape, mtf)
        self.blur = Blur(psf, shape)
        self.decimate = Decimate(self.factor, shape)
        super().__init__(shape, self.decimate.out_shape)
        self._outer_spectrum = Constant(_folded(self.blur, self.decimate))

    def _apply(self, x: Array) -> Array:
        return self.decimate._apply(self.blur._apply(x))

    def _adjoint(self, y: Array) -> Array:
        return self.blur._adjoint(self.decimate._adjoint(y))

    def norm(self) -> float:
        return math.sqrt(float(self._outer_spectrum.double.max()))

    def factors(self) -> tuple[LinearOperator, LinearOperator]:
        return self.decimate, self.blur

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        # Woodbury: A A^H is a periodic convolution on the coarse grid, so its shifted inverse is a division there.
        coarse = fourier_divide(self._apply(b), self._outer_spectrum.like(b), rho)
        return (b - self._adjoint(coarse)) / rho

    def __repr__(self) -> str:
        return f"Downsample({self.in_shape} -> {self.out_shape}, psf {self.blur.psf.shape})"


def _transfer(mtf: float | None, psf: Any) -> float:
    if mtf is None:
        return MTF
    if not isinstance(psf, str) or psf != "gaussian":
        raise ArgumentError("mtf is given without psf='gaussian', the kernel that has one. Pass both, or leave it out.")
    if positive_float("mtf", mtf) >= 1:
        raise ArgumentError(f"mtf is {mtf}; expected a contrast above 0 and below 1. Pass one, such as 0.3.")
    return float(mtf)


class Decimate(LinearOperator):
    """Keep pixel ``(factor - 1) // 2`` of each block: ``y[i] = x[factor * i + (factor - 1) // 2]``.

    Parameters
    ----------
    factor : int or tuple of int
        Length of a block, for all axes or for each.
    shape : tuple of int
        Shape of the image; ``factor`` divides it.

    Raises
    ------
    ShapeError
        ``factor`` does not divide ``shape``.

    Examples
    --------
    >>> A = Decimate(2, shape=(6,))
    >>> A(np.arange(6.0)), A.adjoint(np.ones(3))
    (array([0., 2., 4.]), array([1., 0., 1., 0., 1., 0.]))
    """

    nonnegative = True
    selects = True

    def __init__(self, factor: Any, shape: Sequence[int]):
        shape = shape_argument("shape", shape)
        self.factor = whole_blocks(factor, shape)
        super().__init__(shape, [n // f for n, f in zip(shape, self.factor, strict=True)])
        self.kept = tuple(slice((f - 1) // 2, None, f) for f in self.factor)

    def _apply(self, x: Array) -> Array:
        return window(x, self.kept)

    def _adjoint(self, y: Array) -> Array:
        return embed(y, self.in_shape, self.kept)

    def diagonal_gram(self) -> np.ndarray:
        return embed(np.ones(self.out_shape), self.in_shape, self.kept)

    def norm(self) -> float:
        return 1.0


def whole_blocks(factor: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``factor`` for each axis of ``shape``, held against it."""
    values = tuple(factor) if isinstance(factor, (Sequence, np.ndarray)) else (factor,) * len(shape)
    if len(values) != len(shape):
        raise ShapeError(
            f"factor has {len(values)} entries; expected one, or one for each of the {len(shape)} axes of {shape}. "
            "Pass an integer for all axes."
        )
    for value in values:
        if isinstance(value, (float, np.floating)) and value % 1:
            raise DTypeError(
                f"factor is {factor!r}; expected integers, for only those keep whole fine pixels. "
                "Pass integers, or use Resample(shape, out_shape) for any ratio."
            )
    values = tuple(positive_int("factor", value) for value in values)
    if any(n % f for n, f in zip(shape, values, strict=True)):
        fitting = tuple(max(n // f, 1) * f for n, f in zip(shape, values, strict=True))
        raise ShapeError(
            f"shape is {shape}, which factor {values} does not divide; expected whole blocks. "
            f"Build the operator for shape {fitting}, and crop the measurement to whole blocks."
        )
    return values


def _folded(blur: Blur, decimate: Decimate) -> np.ndarray:
    """Eigenvalues of ``A A^H`` over the coarse frequencies: the mean over the aliases of ``|H|^2``."""
    gram = blur._diagonalised.eigenvalues
    blocks = [n for coarse, f in zip(decimate.out_shape, decimate.factor, strict=True) for n in (f, coarse)]
    return gram.reshape(blocks).mean(axis=tuple(range(0, 2 * gram.ndim, 2)))
