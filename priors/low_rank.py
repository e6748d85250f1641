"""Low rank of image series: frames, echoes or bands that are combinations of a few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.base import Prior
from priors.group_norm import shrinkage
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_int

TINY = 1e-300  # keeps the quotient of a vanished singular value finite


@dataclass(frozen=True)
class NuclearNorm(Prior):
    """``g(x) = |X|_*``, the sum of the singular values of the Casorati matrix ``X`` (frames by pixels) of a series.

    ``prox(v, step)`` takes ``step`` off every singular value, down to 0; exact.

    Parameters
    ----------
    axis : int
        Negative axis of the frames; all axes after it are pixels: -3 for ``(..., time, rows, columns)``. Leading axes
        are a batch.

    References
    ----------
    Cai, Candes and Shen 2010; image series: Liang 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NuclearNorm
    >>> still = np.stack([np.eye(4)] * 9)
    >>> bool(np.isclose(NuclearNorm().value(still), 3 * np.linalg.norm(np.eye(4))))
    True
    """

    axis: int = -3

    def __post_init__(self) -> None:
        _check_axis(self.axis)

    @property
    def image_ndim(self) -> int:
        return -self.axis

    def _value(self, x: Array) -> Any:
        return nuclear_norms(self._matrix(x))

    def _prox(self, v: Array, step: Any) -> Array:
        return shrink_singular_values(self._matrix(v), step).reshape(tuple(v.shape))

    def _matrix(self, x: Array) -> Array:
        """``(..., frames, pixels)``."""
        cut = x.ndim + self.axis + 1
        return x.reshape((*x.shape[:cut], math.prod(x.shape[cut:])))


@dataclass(frozen=True)
class LocallyLowRank(Prior):
    """``g(x) = sum_b |X_b|_*`` over the blocks of a partition, ``X_b`` being the Casorati matrix of block b.

    What moves differs from place to place, so small neighbourhoods have a lower rank than the whole field of view.
    ``prox`` is exact, block by block. Blocks at the border are cut off.

    Parameters
    ----------
    block : int or tuple of int
        Size of a block along each spatial axis; an integer for both of two.
    axis : int, optional
        Negative axis of the frames. None is the one before the spatial axes, the trailing ``len(block)``; axes between
        (channels) have matrices of their own.
    offset : int or tuple of int
        Where the first whole block begins, below the size of a block.

    References
    ----------
    Trzasko and Manduca 2011; Zhang, Pauly and Levesque 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import LocallyLowRank
    >>> x = np.random.default_rng(0).standard_normal((5, 16, 16))
    >>> LocallyLowRank(8).prox(x, 1.0).shape
    (5, 16, 16)
    """

    block: Any = 8
    axis: int | None = None
    offset: Any = 0

    def __post_init__(self) -> None:
        sizes = self.block if isinstance(self.block, (tuple, list)) else (self.block, self.block)
        block = tuple(positive_int("block", size) for size in sizes)
        offsets = self.offset if isinstance(self.offset, (tuple, list)) else (self.offset,) * len(block)
        offset = tuple(positive_int("offset", value, minimum=0) for value in offsets)
        if len(offset) != len(block) or any(o >= b for o, b in zip(offset, block, strict=True)):
            raise ArgumentError(
                f"offset is {self.offset!r}; expected {len(block)} integers below the block size {block}. Pass such."
            )
        axis = -len(block) - 1 if self.axis is None else self.axis
        _check_axis(axis)
        if axis >= -len(block):
            raise ArgumentError(
                f"axis is {axis}; expected at most {-len(block) - 1}, before the {len(block)} spatial axes. "
                "Move the frames there, for example with numpy.moveaxis."
            )
        for name, value in (("block", block), ("offset", offset), ("axis", axis)):
            object.__setattr__(self, name, value)

    @classmethod
    def averaged(cls, partitions: int, block: Any = 8, axis: int | None = None, rng: Any = 0) -> Prior:
        """The average over several partitions with random offsets, against visible blocks.

        A sum of priors: its proximal map is not closed, ADMM splits it.

        Parameters
        ----------
        partitions : int
            Number of partitions; the first one has no offset.
        block, axis
            As for the class.
        rng : int or numpy.random.Generator
            Source of the offsets; the same for every call by default.
        """
        first, draw = cls(block, axis), np.random.default_rng(rng)
        total = first * (1 / positive_int("partitions", partitions))
        for _ in range(partitions - 1):
            offset = tuple(int(draw.integers(size)) for size in first.block)
            total = total + cls(block, axis, offset) * (1 / partitions)
        return total

    @property
    def image_ndim(self) -> int:
        assert self.axis is not None
        return -self.axis

    def _value(self, x: Array) -> Any:
        return nuclear_norms(self._matrices(self._padded(x)))

    def _prox(self, v: Array, step: Any) -> Array:
        padded = self._padded(v)
        blocks = shrink_singular_values(self._matrices(padded), step)
        return self._cropped(self._assembled(blocks, tuple(padded.shape)), v)

    def _padded(self, x: Array) -> Array:
        """Frames before the spatial axes, and zeros around whole blocks: empty columns add no singular value."""
        xp, n = arrays.namespace(x), len(self.block)
        x = xp.moveaxis(x, self.axis, -n - 1)
        for axis, (block, offset) in enumerate(zip(self.block, self.offset, strict=True), start=-n):
            front = -offset % block
            back = -(x.shape[axis] + front) % block
            edges = [arrays.zeros(_resized(x.shape, axis, size), x) for size in (front, back)]
            x = xp.concatenate((edges[0], x, edges[1]), axis)
        return x

    def _cropped(self, x: Array, like: Array) -> Array:
        xp, n = arrays.namespace(x), len(self.block)
        spatial = like.shape[like.ndim - n :]
        fronts = [-offset % block for block, offset in zip(self.block, self.offset, strict=True)]
        x = x[(..., *(slice(front, front + size) for front, size in zip(fronts, spatial, strict=True)))]
        return xp.moveaxis(x, -n - 1, self.axis)

    def _matrices(self, x: Array) -> Array:
        """``(..., blocks, frames, pixels)`` of whole blocks."""
        n, cut = len(self.block), x.ndim - len(self.block)
        counts = [size // block for size, block in zip(x.shape[cut:], self.block, strict=True)]
        split = [part for pair in zip(counts, self.block, strict=True) for part in pair]
        x = x.reshape((*x.shape[:cut], *split))
        order = [*range(cut - 1), *range(cut, cut + 2 * n, 2), cut - 1, *range(cut + 1, cut + 2 * n, 2)]
        x = x.permute(order) if arrays.is_torch(x) else x.transpose(order)
        return x.reshape((*x.shape[: cut - 1], math.prod(counts), x.shape[cut - 1 + n], math.prod(self.block)))

    def _assembled(self, blocks: Array, shape: tuple[int, ...]) -> Array:
        """Undo :meth:`_matrices`."""
        n, cut = len(self.block), len(shape) - len(self.block)
        counts = [size // block for size, block in zip(shape[cut:], self.block, strict=True)]
        x = blocks.reshape((*shape[: cut - 1], *counts, shape[cut - 1], *self.block))
        order = [*range(cut - 1), cut - 1 + n]
        order += [axis for d in range(n) for axis in (cut - 1 + d, cut + n + d)]
        x = x.permute(order) if arrays.is_torch(x) else x.transpose(order)
        return x.reshape(shape)


def nuclear_norms(matrices: Array) -> Any:
    """Sum of all singular values."""
    values = arrays.namespace(matrices).linalg
    if arrays.is_torch(matrices):
        return values.svdvals(matrices).sum()
    return float(values.svd(matrices, compute_uv=False).sum())


def shrink_singular_values(matrices: Array, step: Any) -> Array:
    """``U max(S - step, 0) V^H`` of ``(..., rows, columns)``, from the smaller Gram matrix in double precision."""
    xp = arrays.namespace(matrices)
    if matrices.shape[-2] > matrices.shape[-1]:
        return xp.swapaxes(shrink_singular_values(xp.swapaxes(matrices, -1, -2), step), -1, -2)
    wide = _wide(matrices)
    values, vectors = xp.linalg.eigh(wide @ xp.swapaxes(wide, -1, -2).conj())
    factors = shrinkage(xp.sqrt(values.clip(min=TINY)), step)
    filtered = (vectors * factors[..., None, :]) @ (xp.swapaxes(vectors, -1, -2).conj() @ wide)
    return filtered.to(matrices.dtype) if arrays.is_torch(matrices) else filtered.astype(matrices.dtype)


def _wide(x: Array) -> Array:
    """Double precision."""
    if arrays.is_torch(x):
        xp = arrays.namespace(x)
        return x.to(xp.complex128 if x.is_complex() else xp.float64)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def _resized(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    out = list(shape)
    out[axis] = size
    return tuple(out)


def _check_axis(axis: Any) -> None:
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise DTypeError(f"axis is {axis!r}; expected a negative integer. Pass the axis of the frames, such as -3.")
    if axis >= -1:
        raise ArgumentError(f"axis is {axis}; expected at most -2, with pixels after it. Pass such as -3.")
