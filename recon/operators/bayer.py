"""Colour filter arrays: every pixel of the sensor sees one colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OptionError, ShapeError, suggestion
from solvers.validation import shape_argument

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


class Bayer(LinearOperator):
    """A colour image behind a Bayer filter: ``y[i, j] = x[colour(i, j), i, j]``. The operator of demosaicing.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the mosaic; the image is ``(3, rows, columns)``: red, green, blue.
    pattern : {"RGGB", "BGGR", "GRBG", "GBRG"}
        Colours of the first two pixels of the first row, then of the second.

    Raises
    ------
    ShapeError
        ``shape`` is not two axes.
    OptionError
        ``pattern`` is unknown.

    References
    ----------
    B. E. Bayer, "Color imaging array", US patent 3971065 (1976).

    Examples
    --------
    >>> A = Bayer((2, 4))
    >>> A(np.array([1.0, 2.0, 3.0])[:, None, None] * np.ones((3, 2, 4)))
    array([[1., 2., 1., 2.],
           [2., 3., 2., 3.]])
    """

    nonnegative = True
    selects = True
    channels = True
    tile = (2, 2)
    """Rows and columns after which a pixel sees the same colour; the noise is estimated among those that do."""

    def __init__(self, shape: Sequence[int], pattern: str = "RGGB"):
        shape = shape_argument("shape", shape)
        if len(shape) != 2:
            raise ShapeError(f"shape is {shape}; expected (rows, columns) of the mosaic. Leave out the colours.")
        if pattern not in PATTERNS:
            raise OptionError(
                f"pattern is {pattern!r}; expected one of {', '.join(map(repr, PATTERNS))}."
                f"{suggestion(str(pattern).upper(), PATTERNS)} Pass the colours in reading order."
            )
        self.pattern = pattern
        super().__init__((3, *shape), shape)

    def _places(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Where the pixels of each filter are, in the image and in the mosaic."""
        for k, colour in enumerate(self.pattern):
            at = (slice(k // 2, None, 2), slice(k % 2, None, 2))
            yield (..., "RGB".index(colour), *at), (..., *at)

    def _apply(self, x: Array) -> Array:
        y = arrays.zeros((*x.shape[:-3], *self.out_shape), x)
        for image, mosaic in self._places():
            y[mosaic] = x[image]
        return y

    def _adjoint(self, y: Array) -> Array:
        x = arrays.zeros((*y.shape[:-2], *self.in_shape), y)
        for image, mosaic in self._places():
            x[image] = y[mosaic]
        return x

    def diagonal_gram(self) -> np.ndarray:
        return self._adjoint(np.ones(self.out_shape))

    def norm(self) -> float:
        return 1.0

    def __repr__(self) -> str:
        return f"Bayer({self.out_shape}, {self.pattern!r})"
