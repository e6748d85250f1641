"""Smooth fields of few parameters, and how one is told from the picture behind it.

A gain multiplies the picture, so it adds to the logarithm, ``log y = log g + log x``. Differences of ``log x`` between
neighbours are mostly near zero, with a few large ones at edges. The field that leaves the sparsest differences,

    minimise  sum_ij w_ij |d log y_ij - d (B c)_ij|^p,   p = 1/2,

is the most probable one for such pictures, and no strength weighs one against the other. Where it is dark, logarithms
are noise: weights are the inverse of its variance there, the squared brightness. Solved by iteratively reweighted least
squares. Weiss 2001; Zheng, Lin, Kambhamettu, Yu and Kang 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.affine import Affine
from solvers.arrays import Array

SPARSITY = 0.5  # p: exponent of the differences of a picture's logarithm
BRIGHTNESS = 2.0  # power of the brightness that weighs a difference
ROUNDS = 30
SMALLEST = 1e-3  # relative difference of neighbours that counts as none
SIDE = 160  # pixels, of the longer side, to which a picture is averaged first
DIMMEST = 0.02  # least gain that is guessed
DARK = 0.02  # of the brightest: below, a logarithm says nothing


def radial_powers(shape: Sequence[int], count: int, centre: tuple[float, float] | None = None) -> np.ndarray:
    """``(r / R)^2, (r / R)^4, ...`` over the pixels, R half the diagonal: shape (count, rows, columns)."""
    middle = tuple((n - 1) / 2 for n in shape) if centre is None else centre
    rows, columns = np.indices(tuple(shape), dtype=float)
    r2 = ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2) / (sum((n - 1) ** 2 for n in shape) / 4 or 1.0)
    return np.stack([r2 ** (k + 1) for k in range(count)])


def cosine_interpolation(n: int, coarse: int) -> np.ndarray:
    """Matrix (n, coarse) that interpolates ``coarse`` samples of an axis by as many cosines, mirrored at the ends."""
    k = np.arange(coarse)
    at = (np.arange(coarse) + 0.5) / coarse
    fine = (np.arange(n) + 0.5) / n
    analysis = np.cos(np.pi * np.outer(k, at)) * np.where(k == 0, 1, 2)[:, None] / coarse
    return np.cos(np.pi * np.outer(fine, k)) @ analysis


def grid_fields(shape: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """The field of each sample of a coarse grid, of ``shape``: (samples, rows, columns)."""
    rows, columns = (cosine_interpolation(n, k) for n, k in zip(shape, grid, strict=True))
    return np.einsum("ia,jb->abij", rows, columns).reshape(math.prod(grid), *shape)


def times_image(x: Array, basis: np.ndarray, shape: tuple[int, ...], constant: Any = 0.0) -> Affine:
    """``c -> (constant + sum_k c_k basis_k) x`` for an image or a batch of them; ``shape`` is that of ``c``."""
    from recon.operators.wrappers import from_callables

    flat = np.ascontiguousarray(basis.reshape(len(basis), -1))
    image = np.asarray(x, dtype=float)
    field = basis.shape[1:]
    axes = tuple(range(image.ndim - len(field)))

    def forward(c: np.ndarray) -> np.ndarray:
        return image * (c.reshape(-1) @ flat).reshape(field)

    def adjoint(r: np.ndarray) -> np.ndarray:
        return (flat @ (image * r).sum(axes).reshape(-1)).reshape(shape)

    return Affine(from_callables(forward, adjoint, shape, image.shape), constant * image)


def reduced(y: np.ndarray) -> tuple[np.ndarray, int]:
    """Means of blocks of pixels, small enough for a smooth field, and the side of a block.

    What does not fill a block at the far borders is left out.
    """
    block = max(1, math.ceil(max(y.shape[-2:]) / SIDE))
    rows, columns = (n // block for n in y.shape[-2:])
    kept = y[..., : rows * block, : columns * block]
    return kept.reshape(*y.shape[:-2], rows, block, columns, block).mean((-3, -1)), block


def sparse_log_field(y: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coefficients ``c`` of the gain's logarithm ``B c``, which all pictures of ``y`` (..., rows, columns) share."""
    A = _differences(basis).reshape(len(basis), -1).T
    pairs = [_weighted(picture) for picture in y.reshape(-1, *basis.shape[1:])]
    c = np.zeros(len(basis))
    for _ in range(ROUNDS):
        normal, right = np.zeros((len(basis),) * 2), np.zeros(len(basis))
        for b, brightness in pairs:
            weights = brightness * ((b - A @ c) ** 2 + SMALLEST**2) ** (SPARSITY / 2 - 1)
            weighted = A * weights[:, None]
            normal += weighted.T @ A
            right += weighted.T @ b
        c = np.linalg.solve(normal + 1e-9 * np.trace(normal) / len(c) * np.eye(len(c)), right)
    return c


def fitted(basis: np.ndarray, gain: np.ndarray, constant: float = 0.0) -> np.ndarray:
    """The coefficients with which ``constant + B c`` is nearest to ``gain``, relative to it."""
    flat, target = basis.reshape(len(basis), -1) / gain.reshape(-1), 1.0 - constant / gain.reshape(-1)
    return np.linalg.lstsq(flat @ flat.T, flat @ target, rcond=1e-12)[0]


def positive_gain(coefficients: np.ndarray, basis: np.ndarray, constant: float) -> np.ndarray:
    """The coefficients, or ones nearer to an even gain where theirs would not be positive everywhere."""
    even = fitted(basis, np.ones(basis.shape[1:]), constant)
    while (constant + np.tensordot(coefficients, basis, 1)).min() < DIMMEST:
        coefficients = even + 0.8 * (coefficients - even)
    return coefficients


def _weighted(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences of the logarithm along both axes, and the weight of each."""
    floor = DARK * max(float(np.quantile(picture, 0.99)), 1e-30)
    logs = _differences(np.log(np.maximum(picture, floor))[None])[0]
    darker = np.minimum(picture[:-1, :-1], np.minimum(picture[1:, :-1], picture[:-1, 1:]))
    weights = np.where(darker > floor, np.maximum(darker, floor) ** BRIGHTNESS, 0.0)
    return logs.reshape(-1), np.tile(weights.reshape(-1) / max(float(weights.mean()), 1e-30), 2)


def _differences(fields: np.ndarray) -> np.ndarray:
    down, across = np.diff(fields, axis=-2)[..., :-1], np.diff(fields, axis=-1)[..., :-1, :]
    return np.stack([down, across], axis=1)
