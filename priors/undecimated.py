"""Sparsity in a translation-invariant wavelet frame: no trace of where the wavelets lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from priors.composite import Composite
from priors.sparsity import Sparsity
from priors.wavelet import _filters
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.protocols import Term
from solvers.validation import positive_int


@dataclass(frozen=True)
class WaveletFrame:
    """Undecimated periodic wavelet transform ``W``, a Parseval frame: ``W^H W = I``, for images of any size.

    ``W x`` has shape ``(..., bands, *spatial)``: the ``2^ndim - 1`` details of each scale, fine to coarse, then what is
    left. Every band is a convolution, computed in Fourier.

    Parameters
    ----------
    wavelet : str
        An orthogonal wavelet of PyWavelets.
    levels : int
        Number of scales.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3.

    References
    ----------
    Nason and Silverman 1995; Mallat, A Wavelet Tour of Signal Processing, section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import WaveletFrame
    >>> W, x = WaveletFrame("db2", levels=2), np.eye(9)
    >>> W(x).shape, bool(np.allclose(W.adjoint(W(x)), x))
    ((7, 9, 9), True)
    """

    wavelet: str = "db2"
    levels: int = 3
    ndim: int = 2

    def __post_init__(self) -> None:
        _filters(self.wavelet)
        positive_int("levels", self.levels)
        if self.ndim not in (1, 2, 3) or isinstance(self.ndim, bool):
            raise ArgumentError(f"ndim is {self.ndim!r}; expected 1, 2 or 3. Pass the number of spatial axes.")

    def __call__(self, x: Array) -> Array:
        shape, axes = tuple(x.shape[x.ndim - self.ndim :]), tuple(range(-self.ndim, 0))
        real = not arrays.is_complex(x)
        spectrum = arrays.rfftn(x, axes) if real else arrays.fftn(x, axes)
        bands = spectrum[(..., None, *(slice(None),) * self.ndim)] * self._response(shape, x)
        return arrays.irfftn(bands, shape, axes) if real else arrays.fftn(bands, axes, inverse=True)

    def adjoint(self, z: Array) -> Array:
        """``W^H z``, which inverts ``W``."""
        shape, axes = tuple(z.shape[z.ndim - self.ndim :]), tuple(range(-self.ndim, 0))
        real = not arrays.is_complex(z)
        spectra = arrays.rfftn(z, axes) if real else arrays.fftn(z, axes)
        spectrum = (spectra * self._response(shape, z).conj()).sum(-self.ndim - 1)
        return arrays.irfftn(spectrum, shape, axes) if real else arrays.fftn(spectrum, axes, inverse=True)

    def norm(self) -> float:
        """1."""
        return 1.0

    def fourier_gram(self, shape: Sequence[int]) -> np.ndarray:
        """Ones."""
        return np.ones(tuple(shape)[len(shape) - self.ndim :])

    def level_weights(self) -> np.ndarray:
        """Noise in each band over the noise of the image, ``2^(-level ndim / 2)``; 0 for what is left."""
        per_level = np.repeat(2.0 ** (-0.5 * self.ndim * np.arange(1, self.levels + 1)), 2**self.ndim - 1)
        return np.append(per_level, 0.0).reshape((-1,) + (1,) * self.ndim)

    def _response(self, shape: tuple[int, ...], like: Array) -> Array:
        response = _responses(self.wavelet, self.levels, shape)
        if not arrays.is_complex(like):
            response = response[..., : shape[-1] // 2 + 1]
        return arrays.asarray(response.copy() if arrays.is_torch(like) else response, like)


@dataclass(frozen=True)
class UndecimatedWavelet(Composite):
    """``g(x)``: the average of :class:`Wavelet` over all shifts of the image, ``sum_b 2^(-level ndim / 2) |(W x)_b|``.

    Unlike that of an orthonormal transform its effect does not depend on where an edge lies, which avoids block
    artefacts, and it has no closed proximal map; ADMM needs none. Odd sizes are not treated as in :class:`Wavelet`.

    Parameters
    ----------
    wavelet : str
        An orthogonal wavelet of PyWavelets, such as ``haar``, ``db2`` or ``sym8``.
    levels : int
        Number of scales. The coarsest averages are not counted.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.
    tol, iterations
        Accuracy of the proximal map (relative duality gap) and its most iterations; see :class:`TotalVariation`.

    References
    ----------
    Coifman and Donoho 1995; proximal map: :mod:`priors.composite`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import UndecimatedWavelet
    >>> x = np.eye(16)
    >>> bool(np.isclose(UndecimatedWavelet().value(x), UndecimatedWavelet().value(np.roll(x, 3, axis=0))))
    True
    """

    wavelet: str = "db2"
    levels: int = 3
    ndim: int = 2
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        WaveletFrame(self.wavelet, self.levels, self.ndim)
        self._check_accuracy()

    @property
    def image_ndim(self) -> int:
        return self.ndim

    def _composition(self) -> Term:
        frame = WaveletFrame(self.wavelet, self.levels, self.ndim)
        return Term(Sparsity(None, None, frame.level_weights()), frame)


@lru_cache(maxsize=4)
def _responses(wavelet: str, levels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Transfer of every band, ``(bands, *shape)``."""
    passed: Any = np.ones((1,) * len(shape))
    bands = []
    for level in range(levels):
        axes = [_line_responses(wavelet, n, 2**level) for n in shape]
        for kinds in product((0, 1), repeat=len(shape)):
            band = passed
            for axis, kind in enumerate(kinds):
                line = axes[axis][kind]
                band = band * line.reshape((-1,) + (1,) * (len(shape) - 1 - axis))
            if any(kinds):
                bands.append(band)
            else:
                coarse = band
        passed = coarse
    out = np.stack([np.broadcast_to(band, shape) for band in (*bands, passed)])
    out.flags.writeable = False
    return out


def _line_responses(wavelet: str, n: int, spread: int) -> np.ndarray:
    """Low- and high-pass transfer at ``n`` frequencies of the filters with ``spread - 1`` zeros between their taps."""
    if n == 1:  # an axis of length 1 has no details
        return np.array([[1.0 + 0j], [0.0 + 0j]])
    taps = np.array(_filters(wavelet))
    phase = np.exp(-2j * np.pi * np.outer(np.arange(taps.shape[1]) * spread, np.arange(n)) / n)
    return np.sqrt(0.5) * taps @ phase
