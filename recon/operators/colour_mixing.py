"""Colours as a camera sees them: white balance, and channels that see each other's light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.illumination import real_numbers
from recon.operators.spectral import SpectralMixing
from recon.operators.unknown import Parametrised, Unknown
from solvers.errors import ArgumentError, OperatorError, ShapeError

NORM = 6.0  # Minkowski norm of the edges whose mean is grey: between the mean and the largest one
SMOOTHED = 1.0  # pixels: standard deviation of the smoothing before the edges are taken


class ColourMixing(Parametrised, SpectralMixing):
    """Colours are mixed, or each is amplified: ``y[k] = sum_b matrix[k, b] x[b]`` at every pixel.

    The colour of the light and the response of a camera. Where the gains are unknown the second one, green, is 1:
    brightness belongs to the image.

    Parameters
    ----------
    matrix : array, shape (bands, bands) or (bands,), or Unknown
        Weights; a list of gains is a diagonal matrix (white balance). Unknown gains make the edges of the picture grey
        on the average, in a norm that the strong ones dominate. A whole matrix is not in a picture: find it from a
        chart of known colours, ``ColourMixing(Unknown(shape=(3, 3)), shape).fit(chart, measured)``.
    shape : tuple of int
        Pixels of one band, (rows, columns). The image is (bands, rows, columns).

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, ArgumentError
        ``matrix`` is not a square matrix or a list of finite numbers, or is singular.

    References
    ----------
    J. van de Weijer, T. Gevers, A. Gijsenij, "Edge-based color constancy", IEEE Trans. Image Process. 16 (2007).

    Examples
    --------
    >>> A = ColourMixing([0.8, 1.0, 1.3], shape=(4, 4))  # a bluish light
    >>> A(np.ones((3, 4, 4)))[:, 0, 0]
    array([0.8, 1. , 1.3])
    """

    parameters = ("matrix",)

    def __init__(self, matrix: Any, shape: Sequence[int]):
        self.matrix = real_numbers("matrix", matrix)
        whole = np.diag(self.matrix) if self.matrix.ndim == 1 else self.matrix
        if whole.ndim != 2 or whole.shape[0] != whole.shape[1]:
            raise ShapeError(
                f"matrix has shape {self.matrix.shape}; expected (bands, bands), or (bands,) for gains. "
                "Use SpectralMixing where there are more or fewer bands than colours."
            )
        if np.linalg.matrix_rank(whole) < len(whole):
            raise ArgumentError("matrix is singular; expected one that keeps the colours apart. Check its rows.")
        super().__init__(whole, shape)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        shape = (3,) if unknown.shape is None else unknown.shape
        return np.ones(shape) if len(shape) == 1 else np.eye(shape[0])

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        if len(names["matrix"]) != 1:
            raise OperatorError(
                "matrix is unknown, and one picture does not tell it; expected gains, or a start. Pass "
                "Unknown(shape=(3,)), or find the matrix from a chart of known colours: family.fit(chart, measured)."
            )
        bands = np.moveaxis(y, -len(arguments["shape"]) - 1, 0).reshape(*names["matrix"], -1, *arguments["shape"])
        levels = np.array([_edges(band) for band in bands])
        return {"matrix": _green_is_one(np.maximum(levels, 1e-3 * max(float(levels.max()), 1e-30)))}

    def in_parameter(self, name: str, x: np.ndarray) -> Any:
        from recon.operators.wrappers import from_callables

        image = np.asarray(x, dtype=float)
        ndim = len(self.in_shape) - 1
        columns = image.reshape(-1, self.in_shape[0], int(np.prod(self.in_shape[1:])))
        out = (*image.shape[: image.ndim - ndim - 1], *self.out_shape)

        def forward(matrix: np.ndarray) -> np.ndarray:
            mixed = matrix[:, None] * columns if matrix.ndim == 1 else matrix @ columns
            return mixed.reshape(out)

        def adjoint(r: np.ndarray) -> np.ndarray:
            r = r.reshape(columns.shape)
            return np.einsum("nbi,nbi->b" if self.matrix.ndim == 1 else "nki,nbi->kb", r, columns)

        return from_callables(forward, adjoint, self.matrix.shape, out)

    def gauge(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], float, float]:
        if not names or self.matrix.ndim != 1:
            return {}, 1.0, 0.0
        green = float(self.matrix[len(self.matrix) // 2])
        return {"matrix": self.matrix / green}, green, 0.0

    def __repr__(self) -> str:
        gains = ", ".join(f"{value:.3g}" for value in np.diag(self.response))
        return f"ColourMixing({self.in_shape}, diagonal {gains})"


def _green_is_one(gains: np.ndarray) -> np.ndarray:
    return np.asarray(gains / gains[len(gains) // 2])


def _edges(pictures: np.ndarray) -> float:
    """The mean of the edges' heights, in the norm."""
    from scipy.ndimage import gaussian_filter

    axes = tuple(range(1, pictures.ndim))
    smooth = gaussian_filter(pictures, SMOOTHED, axes=axes)
    squares = sum(np.gradient(smooth, axis=axis) ** 2 for axis in axes if smooth.shape[axis] > 1)
    heights = np.sqrt(np.asarray(squares))
    largest = max(float(heights.max()), 1e-30)
    return largest * float(((heights / largest) ** NORM).mean() ** (1 / NORM))
