"""Fast gradient projection on the dual problem of total variation.

    minimise over x    1/2 |x - v|^2 + strength * sum_g |(K x)_g|     within lower <= x <= upper
    maximise over y    min_x 1/2 |x - v|^2 + strength <K x, y>        over |y_g| <= 1

The inner minimum is at ``x(y) = clip(v - strength K^H y)``. One sweep is

    r    <- y + beta (y - y_old)                     beta = k / (k + 5) after k sweeps
    y    <- P(r + K x(r) / (strength |K|^2))         P projects each group onto the unit ball

Beck and Teboulle 2009 with the momentum of Chambolle and Dossal 2015 and a restart where the dual objective drops
(O'Donoghue and Candes 2015). The duality gap ``strength * sum_g (|(K x)_g| - <(K x)_g, y_g>)`` is a sum of
non-negative numbers and bounds ``1/2 |x - solution|^2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.differences import Gradient
from priors.group_norm import GroupNorm, inner_differences
from priors.layout import run_blocks, tile_rows
from solvers import arrays
from solvers.arrays import Array
from solvers.kernels import parallel_pays

FIRST_CHECK = 8  # sweeps before the first look at the duality gap; a look costs about half a sweep
CACHE_BYTES = 1 << 22  # what a thread can keep in the caches between sweeps
MOST_MARGIN = 16  # sweeps of a tile on its own; its margins are an eighth of it at most, which is then their cost
LEAST_ROWS = 32  # tiles with fewer rows would not have margins worth having
UNBOUNDED = (-np.inf, np.inf)


def squared_norm(scales: Sequence[float], shape: Sequence[int]) -> float:
    """``|K|^2`` for differences without wrapping of a spatial ``shape``, exactly; 1 where there are no differences."""
    parts = zip(scales, shape, strict=True)
    return sum((2 * scale * math.sin(math.pi * (n - 1) / (2 * n))) ** 2 for scale, n in parts) or 1.0


@dataclass(frozen=True)
class Tiles:
    """How the rows of packed dual variables are cut into tiles, and their margins (see :mod:`priors.kernels`)."""

    rows: int
    own: int  # rows a tile owns
    margin: int  # rows of its neighbours on either side

    @property
    def count(self) -> int:
        """Tiles an image."""
        return -(-self.rows // self.own)

    @classmethod
    def fit(cls, v: np.ndarray, directions: int) -> Tiles:
        """Tiles that stay in the cache for several sweeps where rows are short enough, and enough for all threads."""
        images, channels, planes, rows, columns = v.shape
        row_bytes = channels * planes * (3 * directions + 1) * columns * v.itemsize
        fits = CACHE_BYTES // row_bytes
        share = -(-rows * images // arrays.threads()) if parallel_pays(v.size) else rows
        own = min(share, rows, fits if fits >= LEAST_ROWS else rows)
        own = -(-rows // -(-rows // own))  # of equal size
        return cls(rows, own, min(max(own // 8, 1), MOST_MARGIN) if own < rows else 0)

    def scatter(self, dual: np.ndarray) -> np.ndarray:
        """``(image, channel, direction, depth, row, column)`` to slot 0 of ``(image, slot, tile, ...)``, with margins.

        Differences past the border are set to zero, as the kernels expect.
        """
        n = dual.shape[2]
        starts = range(0, self.rows, self.own)
        stored = self.own + 2 * self.margin
        duals = np.empty((len(dual), 3, len(starts), *dual.shape[1:4], stored, dual.shape[5]), dual.dtype)
        for t, start in enumerate(starts):
            first, stop = max(start - self.margin, 0), min(start + self.own + self.margin, self.rows)
            at = first - start + self.margin
            tile = duals[:, 0, t, ..., at : at + stop - first, :]
            tile[...] = dual[..., first:stop, :]
            if n > 1 and stop == self.rows:
                tile[:, :, n - 2, :, -1, :] = 0
        duals[:, 0, ..., n - 1, :, :, -1] = 0
        if n == 3:
            duals[:, 0, ..., 0, -1, :, :] = 0
        return duals

    def portions(self, n: int) -> list[int]:
        """Numbers of sweeps, ``n`` in all, after each of which margins are renewed."""
        most = self.margin or n
        return [min(most, n - done) for done in range(0, n, most)]

    def renew(self, duals: np.ndarray) -> None:
        """Copy the margins of all tiles from the tiles that own them."""
        m, own = self.margin, self.own
        if m:
            duals[:, :, 1:, ..., :m, :] = duals[:, :, :-1, ..., own : own + m, :]
            duals[:, :, :-1, ..., own + m :, :] = duals[:, :, 1:, ..., m : 2 * m, :]

    def gather(self, duals: np.ndarray) -> np.ndarray:
        """``(image, tile, ...)`` to ``(image, channel, direction, depth, row, column)``."""
        own = np.moveaxis(duals[..., self.margin : self.margin + self.own, :], 1, 4)
        whole = own.reshape((*own.shape[:4], self.count * self.own, own.shape[-1]))
        return np.ascontiguousarray(whole[..., : self.rows, :])


@dataclass(frozen=True)
class PackedProblem:
    """The problem for images packed as in :mod:`priors.layout`."""

    strength: float
    scales: tuple[float, ...]  # 1 / spacing of each spatial axis
    isotropic: bool
    bounds: tuple[float, float] = UNBOUNDED

    def solve(
        self, v: np.ndarray, dual: np.ndarray, iterations: int, tol: float | None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the image, its dual variable, and the largest relative gap above ``tol`` that is left (else 0).

        Each image stops on its own, so a batch gives what its images give alone.
        """
        tiles = Tiles.fit(v, len(self.scales))
        image, duals = np.empty_like(v), tiles.scatter(dual)
        images = len(v)
        phase, momentum, active = np.zeros(images, np.int64), np.zeros(images, np.int64), np.ones(images, np.bool_)
        previous, relative, done = np.full(images, -np.inf), np.zeros(images), 0
        while done < iterations and active.any():
            n = iterations - done if tol is None else min(iterations - done, max(FIRST_CHECK, done // 8))
            self._sweep(n, tiles, v, duals, phase, momentum, active)
            done += n
            gap, primal, rounding = self._certificate(tiles, image, v, duals, phase)
            if tol is not None:
                active &= gap > np.maximum(tol * primal, rounding)
                momentum[primal - gap < previous - rounding] = 0
                previous, relative = primal - gap, gap / np.maximum(primal, np.finfo(v.dtype).tiny)
        last = tiles.gather(duals[np.arange(images), phase % 3])
        return image, last, float(np.max(relative, where=active, initial=0.0))

    def _sweep(
        self, n: int, tiles: Tiles, v: np.ndarray, duals: np.ndarray, phase: Any, momentum: Any, active: Any
    ) -> None:
        from priors import kernels

        norm = squared_norm(self.scales, v.shape[5 - len(self.scales) :])
        ascent = np.array([scale / (self.strength * norm) for scale in self.scales], v.dtype)
        for count in tiles.portions(n):
            run_blocks(
                kernels.sweep_tiles, v.size, len(v) * tiles.count, count, tile_rows(v, len(ascent) + 1), tiles.own, v,
                duals, phase, momentum, active, self._weights(v), ascent, *self._limits(v), self.isotropic,
            )  # fmt: skip
            phase[active] += count
            momentum[active] += count
            tiles.renew(duals)

    def _certificate(self, tiles: Tiles, image: np.ndarray, v: np.ndarray, duals: np.ndarray, phase: Any) -> Any:
        """Write the images; return duality gap, primal objective and the rounding of the gap, for each."""
        from priors import kernels

        weights = self._weights(v)
        out = np.empty((len(v), *v.shape[2:4], 4))
        run_blocks(
            kernels.certify_tiles, v.size, len(v) * tiles.count, tile_rows(v, len(weights) + 1), tiles.own, image, v,
            duals, phase, weights, *self._limits(v), self.isotropic, out,
        )  # fmt: skip
        total, gap, fit, size = out.sum(axis=(1, 2)).T
        return gap, total + fit, 4 * np.finfo(v.dtype).eps * float(weights.sum()) * size

    def _weights(self, v: np.ndarray) -> np.ndarray:
        return np.array([self.strength * scale for scale in self.scales], v.dtype)

    def _limits(self, v: np.ndarray) -> tuple[Any, Any]:
        return v.dtype.type(self.bounds[0]), v.dtype.type(self.bounds[1])


def packed_value(x: np.ndarray, scales: Sequence[float], isotropic: bool) -> float:
    """Total variation of all packed images."""
    from priors import kernels

    tiles = Tiles.fit(x, len(scales))
    none, no_duals = x[..., :0, :], np.empty((len(x), 1, tiles.count, 0, 0, 0, tiles.own, 0), x.dtype)
    factors, free, out = np.array(scales, x.dtype), x.dtype.type(np.inf), np.empty((len(x), *x.shape[2:4], 4))
    run_blocks(
        kernels.certify_tiles, x.size, len(x) * tiles.count, tile_rows(x, len(factors) + 1), tiles.own, none, x,
        no_duals, np.zeros(len(x), np.int64), factors, -free, free, isotropic, out,
    )  # fmt: skip
    return float(out[..., 0].sum())


def exact_lines(
    v: np.ndarray, strength: float, bounds: tuple[float, float] = UNBOUNDED
) -> tuple[np.ndarray, np.ndarray, float]:
    """The same for packed real signals, exactly; ``strength`` is divided by the spacing."""
    from priors import kernels

    rows, n = v.reshape(-1, v.shape[-1]), v.shape[-1]
    x = np.empty_like(rows)
    run_blocks(kernels.lines, rows.size, len(rows), rows, x, strength)
    dual = np.cumsum((x - rows) / strength, axis=-1, dtype=np.float64).astype(v.dtype).clip(-1, 1)
    dual[:, n - 1] = 0
    x = x if bounds == UNBOUNDED else x.clip(*bounds)  # exact along a line, where clipping keeps the order of pixels
    return x.reshape(v.shape), dual.reshape((*v.shape[:2], 1, *v.shape[2:])), 0.0


def solve_generic(
    v: Array, dual: Array, strength: Any, groups: GroupNorm, bounds: tuple[Any, Any], iterations: int, tol: float | None
) -> tuple[Array, Array, float]:
    """The same for arrays of any kind, with gradients for torch; the images of a batch stop together."""
    K = groups.operator
    ascent = 1.0 / (strength * squared_norm(K.scales, tuple(v.shape[v.ndim - K.ndim :])))
    y = previous = dual * arrays.asarray(inner_differences(tuple(v.shape[v.ndim - K.ndim :])), v)
    value, age, relative = -math.inf, 0, 0.0
    for k in range(1, iterations + 1):
        r = y + (age / (age + 5)) * (y - previous)
        y, previous = groups.project(r + ascent * K(_primal(v, r, strength, K, bounds))), y
        age += 1
        if tol is not None and k % FIRST_CHECK == 0:
            relative, now = _certificate(v, y, strength, groups, bounds)
            if not relative > tol:
                break
            age, value = (0 if now < value else age), now
    return _primal(v, y, strength, K, bounds), y, relative


def _primal(v: Array, y: Array, strength: Any, K: Gradient, bounds: tuple[Any, Any]) -> Array:
    """``clip(v - strength K^H y)``."""
    x = v - strength * K.adjoint(y)
    return x if bounds == UNBOUNDED else x.clip(*bounds)


def _certificate(v: Array, y: Array, strength: Any, groups: GroupNorm, bounds: tuple[Any, Any]) -> tuple[float, float]:
    """Largest relative duality gap of an image, as far as rounding lets it be seen, and the dual objective of all."""
    if arrays.is_torch(v):
        v, y = v.detach(), y.detach()
    strength, K = arrays.to_float(strength), groups.operator
    x = _primal(v, y, strength, K, bounds)
    Kx = K(x)
    axes = tuple(range(-K.ndim, 0)) + (() if groups.channel_axis is None else (groups.channel_axis,))
    wide = (-K.ndim - 1, *(axis if axis >= -K.ndim else axis - 1 for axis in axes))
    total = strength * groups.norms(Kx).sum(wide)
    gap = total - strength * (Kx * y.conj()).real.sum(wide)
    primal = total + 0.5 * (abs(x - v) ** 2).sum(axes)
    rounding = 4 * arrays.eps(v) * strength * sum(K.scales) * abs(x).sum(axes)
    relative = (gap - rounding) / primal.clip(min=arrays.eps(v) ** 4)
    return float(relative.max()), float((primal - gap).sum())
