"""Single-pixel imaging with Hadamard patterns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from recon.operators._walsh import hadamard, image_sequency, is_power_of_two
from recon.operators._woodbury import OrthogonalRows
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, OptionError, ShapeError, suggestion
from solvers.validation import positive_int, shape_argument

ORDERINGS = ("sequency", "natural", "random")


class SinglePixel(OrthogonalRows):
    r"""A camera of one pixel: the light passed by one Hadamard pattern after another, ``y = (H x)[rows]``.

    ``H`` is orthonormal, its patterns ``+-1 / sqrt(n)`` for ``n`` pixels. Where mirrors show 0 and 1, the reading of a
    pattern is that of its bright half less that of its dark half, divided by ``sqrt(n)``.

    Parameters
    ----------
    shape : tuple of int
        Pixels of the image, a power of two along each axis.
    measurements : int, optional
        Number of patterns, the first ones of the ordering. None is all of them.
    ordering : {"sequency", "natural", "random"}
        ``sequency``: coarse patterns first, by changes of sign a pixel summed over the axes. ``natural``: the rows of
        ``scipy.linalg.hadamard`` for the flattened image. ``random``: the uniform pattern, then the others shuffled.
    rows : array of int, optional
        The patterns by their natural number, each once, instead of ``measurements`` and ``ordering``.
    rng : int or numpy.random.Generator, optional
        Source of the shuffle; by default the same for every call.

    Attributes
    ----------
    rows : ndarray of int
        Natural numbers of the patterns, in the order of the measurements.

    Raises
    ------
    ShapeError
        An axis of ``shape`` is not a power of two.
    ArgumentError, OptionError
        More measurements than pixels, unknown ordering, rows outside the matrix or given twice.

    References
    ----------
    M. F. Duarte et al., "Single-pixel imaging via compressive sampling", IEEE Signal Process. Mag. 25 (2008).

    Examples
    --------
    >>> A = SinglePixel((64, 64), measurements=1024)
    >>> A(np.ones((64, 64)))[:3].round(6).tolist()
    [64.0, 0.0, 0.0]
    """

    torch_body = False
    neighbours_alike = False

    def __init__(
        self,
        shape: Sequence[int],
        measurements: int | None = None,
        ordering: Literal["sequency", "natural", "random"] = "sequency",
        rows: Any = None,
        rng: Any = None,
    ):
        shape = _dyadic(shape)
        self.ordering = ordering
        self.rows = _ordered_rows(shape, measurements, ordering, rng) if rows is None else _given_rows(shape, rows)
        super().__init__(shape, self.rows.shape)

    def _apply(self, x: Array) -> Array:
        flat = x.reshape((*x.shape[: x.ndim - len(self.in_shape)], -1))
        return hadamard(flat)[..., self.rows]

    def _adjoint(self, y: Array) -> Array:
        batch = tuple(y.shape[:-1])
        full = arrays.zeros((*batch, math.prod(self.in_shape)), y)
        full[..., self.rows] = y
        return hadamard(full).reshape(batch + self.in_shape)

    # Tensors on accelerators; those on the CPU go through the kernels.
    _apply_torch = _apply
    _adjoint_torch = _adjoint

    def outer_gram(self) -> np.ndarray:
        return np.ones(1)

    def __repr__(self) -> str:
        return f"SinglePixel({self.in_shape}, {self.rows.size / math.prod(self.in_shape):.1%} measured)"


def _dyadic(shape: Sequence[int]) -> tuple[int, ...]:
    shape = shape_argument("shape", shape)
    if not all(map(is_power_of_two, shape)):
        larger = tuple(1 << (n - 1).bit_length() for n in shape)
        raise ShapeError(
            f"shape is {shape}; expected a power of two along each axis, for Hadamard patterns. Build the operator for "
            f"{larger}, the patterns' own grid."
        )
    return shape


def _ordered_rows(shape: tuple[int, ...], measurements: int | None, ordering: str, rng: Any) -> np.ndarray:
    n = math.prod(shape)
    m = n if measurements is None else positive_int("measurements", measurements)
    if m > n:
        raise ArgumentError(f"measurements is {m}; expected at most {n}, the patterns of {shape}. Pass fewer.")
    if ordering not in ORDERINGS:
        raise OptionError(
            f"ordering is {ordering!r}; expected one of {', '.join(ORDERINGS)}.{suggestion(ordering, ORDERINGS)} "
            "Pass one of them, or rows."
        )
    if ordering == "sequency":
        return np.argsort(image_sequency(shape), kind="stable")[:m]
    if ordering == "natural":
        return np.arange(m)
    shuffled = 1 + np.random.default_rng(0 if rng is None else rng).permutation(n - 1)
    return np.concatenate([[0], shuffled])[:m]


def _given_rows(shape: tuple[int, ...], rows: Any) -> np.ndarray:
    values, n = arrays.to_numpy(rows), math.prod(shape)
    if values.dtype.kind not in "iu" or values.ndim != 1 or not values.size:
        raise ArgumentError(
            f"rows has dtype {values.dtype} and shape {values.shape}; expected a list of integers. Pass the numbers of "
            "the patterns, as in scipy.linalg.hadamard."
        )
    if values.min() < 0 or values.max() >= n or np.unique(values).size < values.size:
        raise ArgumentError(
            f"rows leave 0 to {n - 1} or repeat; expected each pattern once. Average repeated readings."
        )
    return values.astype(np.int64)
