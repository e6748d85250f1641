"""Stripes of a sinogram, which draw rings, taken away before the reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_int, require_finite


def suppress_rings(sinogram: Any, *, width: int = 9, varying: bool = False) -> np.ndarray:
    r"""Take away the stripes that cells of unequal response leave along the angles, which become rings.

    Neighbouring cells measure nearly the same values, only at other angles. Sorting each cell's values over the angles
    therefore lines up what belongs together, and a median over neighbouring cells shows what a faulty one should have
    measured; the difference is taken away and the order of the angles restored. By default it is averaged over all
    values: one offset a cell, as an error of the flat field becomes after the logarithm.

    Parameters
    ----------
    sinogram : array (..., angles, detectors)
        Line integrals, such as from :func:`absorption`. Slices on leading axes have stripes of their own.
    width : int
        Cells of the median, an odd number of at least 3. Stripes of up to ``(width - 1) / 2`` cells go; structure as
        narrow as that, at the same cells in all views, goes too.
    varying : bool
        Let a stripe depend on the brightness, as where a cell answers nonlinearly. This also smooths a little.

    Returns
    -------
    ndarray
        In the shape and unit of the one given. Of the rings of offsets that fluctuate from cell to cell some quarter
        remains, what is coarse in them; a sinogram without stripes changes by about a thousandth.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, NonFiniteError
        A sinogram with fewer cells than ``width``, complex values or NaN, or an even width.

    References
    ----------
    N. T. Vo, R. C. Atwood, M. Drakopoulos, "Superior techniques for eliminating ring artifacts in X-ray
    micro-tomography", Opt. Express 26 (2018), algorithm 3. The average over the values is an addition.

    Examples
    --------
    >>> clean = 1.0 + 0.1 * np.cos(np.linspace(0, 3, 90))[:, None] * np.hanning(64)
    >>> stripes = 0.05 * (np.arange(64) % 16 == 5)
    >>> bool(np.std(suppress_rings(clean + stripes) - clean) < 0.1 * np.std(stripes))
    True
    """
    y = _checked(sinogram)
    width = _odd(width, y.shape[-1])
    slices = y.reshape(-1, *y.shape[-2:])
    return np.stack([_without_stripes(one, width, varying) for one in slices]).reshape(y.shape)


def _without_stripes(y: np.ndarray, width: int, varying: bool) -> np.ndarray:
    from scipy.ndimage import median_filter

    order = np.argsort(y, axis=0, kind="stable")
    levels = np.take_along_axis(y, order, axis=0)
    excess = levels - median_filter(levels, size=(1, width), mode="nearest")
    if not varying:
        return y - excess.mean(axis=0)
    out = np.empty_like(y)
    np.put_along_axis(out, order, levels - excess, axis=0)
    return out


def _checked(sinogram: Any) -> np.ndarray:
    y = as_inexact("sinogram", sinogram)
    if arrays.is_torch(y) or arrays.is_complex(y):
        kind = "a torch tensor" if arrays.is_torch(y) else "complex"
        raise DTypeError(f"sinogram is {kind}; expected a real numpy array. Pass sinogram.numpy() or the real part.")
    if y.ndim < 2 or not y.size:
        raise ShapeError(f"sinogram has shape {y.shape}; expected (..., angles, detectors). Pass one or more slices.")
    require_finite("sinogram", y)
    return y


def _odd(width: Any, detectors: int) -> int:
    width = positive_int("width", width, minimum=3)
    if width % 2 == 0:
        raise ArgumentError(f"width is {width}; expected an odd number of cells. Pass {width + 1}.")
    if width > detectors:
        raise ShapeError(
            f"sinogram has {detectors} detectors; expected at least width={width}. "
            "Pass (..., angles, detectors), with the detectors last, or a smaller width."
        )
    return width
