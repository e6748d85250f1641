"""Sparsity of the detail coefficients of an orthonormal wavelet transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from priors.base import Prior
from priors.group_norm import shrinkage
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, OptionError, suggestion


@dataclass(frozen=True)
class Wavelet(Prior):
    """``g(x) = sum |d|`` over the detail coefficients ``d = W x`` of an orthonormal periodic wavelet transform.

    ``prox(v, step) = W^H soft(W v, step)``, exact because ``W`` is orthonormal. The coefficients of the coarsest scale
    are neither counted nor shrunk, so the mean of the image is kept and constants cost nothing. Complex coefficients
    shrink in modulus.

    Any size will do: where an axis has odd length at some scale, its last sample is set aside there as a coarse
    coefficient of its own, which keeps ``W`` orthonormal.

    Parameters
    ----------
    wavelet : str
        An orthogonal wavelet of PyWavelets, such as ``haar``, ``db4`` or ``sym8``.
    levels : int, optional
        Number of scales. None is as many as the filter fits into the shortest axis, at least 1.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.

    References
    ----------
    Daubechies 1988; Donoho 1995; Mallat, A Wavelet Tour of Signal Processing, section 7.5 (periodic wavelets).
    """

    wavelet: str = "db4"
    levels: int | None = None
    ndim: int = 2

    def __post_init__(self) -> None:
        _filters(self.wavelet)
        if self.ndim not in (1, 2, 3) or isinstance(self.ndim, bool):
            raise ArgumentError(f"ndim is {self.ndim!r}; expected 1, 2 or 3. Pass the number of spatial axes.")
        if self.levels is not None and self.levels < 1:
            raise ArgumentError(f"levels is {self.levels}; expected at least 1. Pass a positive integer or None.")

    @property
    def image_ndim(self) -> int:
        return self.ndim

    def _value(self, x: Array) -> Any:
        total = sum(abs(band).sum() for band in self._details(x, self._depth(x)))
        return total if arrays.is_torch(x) else float(total)

    def _details(self, x: Array, levels: int) -> list[Array]:
        if levels == 0:
            return []
        bands = self._split(x)
        coarse = bands["L" * self.ndim]
        return [band for key, band in bands.items() if "H" in key] + self._details(coarse, levels - 1)

    def _prox(self, v: Array, step: Any) -> Array:
        return self._shrink(v, step, self._depth(v))

    def _shrink(self, v: Array, step: Any, levels: int) -> Array:
        if levels == 0:
            return v
        bands = self._split(v)
        for key, band in bands.items():
            if "H" in key:
                bands[key] = band * shrinkage(abs(band), step)
        coarse = "L" * self.ndim
        bands[coarse] = self._shrink(bands[coarse], step, levels - 1)
        return self._merge(bands)

    def _depth(self, x: Array) -> int:
        """Number of scales for images of this size; axes of length 1 have none."""
        lengths = [n for n in x.shape[x.ndim - self.ndim :] if n > 1]
        if not lengths:
            return 0
        possible = min(lengths).bit_length() - 1
        fits = (min(lengths) // (len(_filters(self.wavelet)[0]) - 1)).bit_length() - 1
        return min(possible, max(fits, 1) if self.levels is None else self.levels)

    def _split(self, x: Array) -> dict[str, Array]:
        """One scale: bands by what each axis holds, L low-pass, H high-pass, A the sample set aside."""
        bands = {"": x}
        for axis in range(-self.ndim, 0):
            bands = {
                key + kind: part for key, band in bands.items() for kind, part in _split_axis(band, axis, self.wavelet)
            }
        return bands

    def _merge(self, bands: dict[str, Array]) -> Array:
        """Inverse, and adjoint, of :meth:`_split`."""
        for axis in range(-1, -self.ndim - 1, -1):
            lines: dict[str, dict[str, Array]] = {}
            for key, band in bands.items():
                lines.setdefault(key[:-1], {})[key[-1]] = band
            bands = {key: _merge_axis(parts, axis, self.wavelet) for key, parts in lines.items()}
        return bands[""]


@lru_cache(maxsize=32)
def _filters(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Low- and high-pass analysis filters."""
    import pywt

    known = pywt.wavelist(kind="discrete")
    if name not in known:
        raise OptionError(f"wavelet is {name!r}; expected a discrete wavelet of PyWavelets.{suggestion(name, known)}")
    wavelet = pywt.Wavelet(name)
    if not wavelet.orthogonal:
        raise ArgumentError(f"wavelet is {name!r}; expected an orthogonal one. Pass haar, or one of db, sym or coif.")
    return tuple(wavelet.dec_lo), tuple(wavelet.dec_hi)


def _split_axis(x: Array, axis: int, wavelet: str) -> list[tuple[str, Array]]:
    n = x.shape[axis]
    if n == 1:
        return [("L", x)]
    rest = (slice(None),) * (-axis - 1)
    low, high = _analyse(x[(..., slice(0, n - n % 2), *rest)], axis, wavelet)
    return [("L", low), ("H", high)] + ([("A", x[(..., slice(n - 1, n), *rest)])] if n % 2 else [])


def _merge_axis(parts: dict[str, Array], axis: int, wavelet: str) -> Array:
    if "H" not in parts:
        return parts["L"]
    x = _synthesise(parts["L"], parts["H"], axis, wavelet)
    return arrays.namespace(x).concatenate((x, parts["A"]), axis) if "A" in parts else x


def _analyse(x: Array, axis: int, wavelet: str) -> tuple[Array, Array]:
    """Periodic convolution with both filters and decimation, along an axis of even length."""
    if not arrays.is_torch(x):
        import pywt

        return pywt.dwt(x, wavelet, "periodization", axis)
    torch = arrays.namespace(x)
    lines = x.movedim(axis, -1)
    index, taps = _torch_filters(x, lines.shape[-1], wavelet)
    bands = torch.nn.functional.conv1d(lines[..., index].reshape(-1, 1, len(index)), taps, stride=2)
    return tuple(band.reshape((*lines.shape[:-1], -1)).movedim(-1, axis) for band in bands.unbind(1))


def _synthesise(low: Array, high: Array, axis: int, wavelet: str) -> Array:
    """Adjoint, and inverse, of :func:`_analyse`."""
    if not arrays.is_torch(low):
        import pywt

        return pywt.idwt(low, high, wavelet, "periodization", axis)
    torch = arrays.namespace(low)
    lines = torch.stack((low.movedim(axis, -1), high.movedim(axis, -1)), -2)
    n = 2 * lines.shape[-1]
    index, taps = _torch_filters(low, n, wavelet)
    spread = torch.nn.functional.conv_transpose1d(lines.reshape(-1, 2, n // 2), taps, stride=2)[:, 0]
    x = spread.new_zeros((len(spread), n)).index_add(-1, index, spread)
    return x.reshape((*lines.shape[:-2], n)).movedim(-1, axis)


def _torch_filters(like: Array, n: int, wavelet: str) -> tuple[Array, Array]:
    """Indices that extend a line of ``n`` samples periodically, and both filters in the order of correlation."""
    torch = arrays.namespace(like)
    filters = np.array(_filters(wavelet))[:, ::-1]
    length = filters.shape[1]
    index = (torch.arange(n + length - 2, device=like.device) - (length // 2 - 1)) % n
    return index, arrays.asarray(filters[:, None].copy(), like).to(like.dtype)
