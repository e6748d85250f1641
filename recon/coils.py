"""Coil sensitivities for parallel MRI, from the measurement itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_int, require_finite

LEAST = 2  # half the width of a centre that still shows where the coils stand


def sensitivities_from_center(k: Any, *, size: int | None = None) -> np.ndarray:
    r"""Coil sensitivities from the fully sampled centre of k-space.

    .. math:: s_c = \frac{F^H (w \, k_c)}{\sqrt{\sum_j |F^H (w \, k_j)|^2}}

    The images ``F^H w k_c`` of the centre show the object at low resolution, times the sensitivities, which are smooth;
    their root sum of squares, the object. ``w`` is a Hann window, so that no edge rings. The image that
    ``CartesianMRI(mask, coils=s)`` then reconstructs is the one that the root sum of squares of all coils would show.

    Parameters
    ----------
    k : array of complex, shape (coils, ky, kx)
        k-space as :class:`recon.operators.CartesianMRI` has it: zero frequency at ``n // 2``, zeros where nothing was
        measured. Any number of axes after the coils.
    size : int, optional
        Samples along each axis of the centre, made odd; by default the largest that all coils measured in full.

    Returns
    -------
    ndarray of complex, shape (coils, ky, kx)
        ``sum_c |s_c|^2 = 1`` everywhere. Where there is no object they are noise, and nothing depends on them.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``k`` is no complex array with coils on its first axis, or holds NaN.
    ArgumentError
        The centre is not measured in full, or is too small to see anything.

    References
    ----------
    C. A. McKenzie et al., "Self-calibrating parallel imaging with automatic coil sensitivity extraction", Magn. Reson.
    Med. 47 (2002).

    Examples
    --------
    >>> k = np.ones((2, 16, 16), dtype=complex)
    >>> s = sensitivities_from_center(k)
    >>> s.shape, round(float(abs(s[0, 8, 8])), 3)
    ((2, 16, 16), 0.707)
    """
    k = _k_space(k)
    shape = k.shape[1:]
    measured = (k != 0).all(axis=0)
    largest = _reach(measured)
    reach = largest if size is None else positive_int("size", size) // 2
    if not LEAST <= reach <= largest:
        raise ArgumentError(
            f"size is {size}; the centre of k is measured in full over {max(2 * largest + 1, 0)} samples an axis, "
            f"and {2 * LEAST + 1} is the least. Pass a size between, or sensitivities measured otherwise."
        )
    center = tuple(slice(n // 2 - reach, n // 2 + reach + 1) for n in shape)
    low = np.zeros_like(k)
    low[(slice(None), *center)] = k[(slice(None), *center)] * _hann(shape, center, reach).astype(k.real.dtype)
    images = _images(low)
    together = np.sqrt((images.real**2 + images.imag**2).sum(axis=0))
    return images / np.maximum(together, np.finfo(together.dtype).tiny)


def _k_space(k: Any) -> np.ndarray:
    k = as_inexact("k", k)
    if arrays.is_torch(k) or not arrays.is_complex(k):
        kind = "a torch tensor" if arrays.is_torch(k) else f"of dtype {k.dtype}"
        raise DTypeError(f"k is {kind}; expected a complex numpy array. Pass k-space samples, not magnitudes.")
    if k.ndim < 2:
        raise ShapeError(f"k has shape {k.shape}; expected (coils, ky, kx). Pass k[None] for a single coil.")
    require_finite("k", k)
    return k


def _reach(measured: np.ndarray) -> int:
    """Half the width of the largest centred cube that is measured in full; -1 where not even its middle is."""
    reach = -1
    while reach + 1 <= min((n - 1) // 2 for n in measured.shape):
        block = tuple(slice(n // 2 - reach - 1, n // 2 + reach + 2) for n in measured.shape)
        if not measured[block].all():
            break
        reach += 1
    return reach


def _hann(shape: tuple[int, ...], center: tuple[slice, ...], reach: int) -> np.ndarray:
    window = np.ones(())
    for n, part in zip(shape, center, strict=True):
        distance = np.arange(n)[part] - n // 2
        window = np.multiply.outer(window, 0.5 + 0.5 * np.cos(np.pi * distance / (reach + 1)))
    return window


def _images(k: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, k.ndim))
    return np.fft.fftshift(arrays.fftn(np.fft.ifftshift(k, axes), axes, inverse=True, ortho=True), axes)
