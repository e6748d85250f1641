"""Images extended beyond their borders, and the transpose of that; the trailing axes, numpy and torch alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from solvers import arrays
from solvers.arrays import Array

Mode = Literal["wrap", "symmetric", "constant"]
"""As in ``numpy.pad``: periodic; reflected about the edge of the outer pixels; zeros."""


def extend(x: Array, before: Sequence[int], after: Sequence[int], mode: Mode) -> Array:
    """Add ``before[a]`` and ``after[a]`` pixels to the trailing axes, none of them more than the axis has."""
    ndim = len(before)
    if not arrays.is_torch(x):
        widths = [(0, 0)] * (x.ndim - ndim) + list(zip(before, after, strict=True))
        return np.pad(x, widths, mode=mode)
    torch = arrays.namespace(x)
    if mode == "constant":
        pairs = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
        return torch.nn.functional.pad(x, pairs)
    for axis, b, a in zip(range(-ndim, 0), before, after, strict=True):
        index = np.pad(np.arange(x.shape[axis]), (b, a), mode=mode)
        x = torch.index_select(x, axis, torch.from_numpy(index).to(x.device))
    return x


def fold(z: Array, before: Sequence[int], after: Sequence[int], mode: Mode) -> Array:
    """Transpose of :func:`extend`: what was added is added back to the pixels it was copied from.

    Overwrites a numpy ``z``.
    """
    z = z.clone() if arrays.is_torch(z) else z
    for axis, b, a in zip(range(-len(before), 0), before, after, strict=True):
        _fold_axis(z, axis, b, a, mode)
    core = tuple(slice(b, n - a) for b, n, a in zip(before, z.shape[-len(before) :], after, strict=True))
    return z[(..., *core)].contiguous() if arrays.is_torch(z) else z[(..., *core)].copy()


def _fold_axis(z: Array, axis: int, before: int, after: int, mode: Mode) -> None:
    n = z.shape[axis] - before - after

    def part(start: int, stop: int) -> Array:
        return z[(..., slice(start, stop), *[slice(None)] * (-axis - 1))]

    if mode == "wrap":
        part(n, before + n)[:] += part(0, before)
        part(before, before + after)[:] += part(before + n, before + n + after)
    elif mode == "symmetric":
        flip = arrays.namespace(z).flip
        part(before, 2 * before)[:] += flip(part(0, before), (axis,))
        part(before + n - after, before + n)[:] += flip(part(before + n, before + n + after), (axis,))
