"""Convolution by transforms along the rows, and a sum over the rows of the point spread function.

Of the passes over an image that a transform in the plane makes, those down the columns take longer than some tens of
products, and need columns extended to a length that has a quick transform.
"""

from __future__ import annotations

import numpy as np

from recon.operators._constants import Constant
from recon.operators._tap_sums import as_images, as_volumes, filled_up, launch, valid_shape
from solvers.arrays import threads

PARTS = 5
"""In how many the rows of an image are taken."""

SHORTEST = 30
"""Length transformed at least: of half the spectrum one vector is read."""


class RowTransforms:
    """As :class:`recon.operators._tap_sums.Direct`, for a PSF of two or three axes and a result ``columns`` wide.

    Images wider than ``columns + k - 1``, along whose rows the PSF has k entries, begin and end with k - 1 zeros: the
    transforms then wrap zeros onto zeros.
    """

    def __init__(self, psf: np.ndarray, columns: int):
        from scipy.fft import next_fast_len

        self.support = psf.shape
        self._length = next_fast_len(max(columns + psf.shape[-1] - 1, SHORTEST), real=True)
        self._rows, self._mirrored = _Rows(psf, self._length), _Rows(np.flip(psf), self._length)

    def valid(self, images: np.ndarray) -> np.ndarray:
        """Convolution of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._rows)

    def mirrored_valid(self, images: np.ndarray) -> np.ndarray:
        """Correlation of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._mirrored)

    def _run(self, images: np.ndarray, rows: _Rows) -> np.ndarray:
        volumes = as_volumes(images, len(self.support))
        out = np.empty((len(volumes), *valid_shape(volumes.shape[1:], self.support)), images.dtype)
        for volume, found in zip(volumes, out, strict=True):
            if np.iscomplexobj(volume):  # a real PSF acts alike on the two parts
                self._fill(volume.imag, rows, found.imag)
            self._fill(volume.real, rows, found.real)
        return as_images(out, images, self.support)

    def _fill(self, volume: np.ndarray, rows: _Rows, out: np.ndarray) -> None:
        """Write the convolution of one volume, some rows at a time: their transforms then stay in the cache."""
        import scipy.fft

        height = self.support[-2] if len(self.support) > 1 else 1
        some = max(out.shape[1] // PARTS, 4 * height)  # of the rows of the image, height - 1 are transformed twice
        for first in range(0, out.shape[1], some):
            part = out[:, first : first + some]
            read = volume[:, first : first + part.shape[1] + height - 1]
            spectra = rows.applied(scipy.fft.rfft(read, self._length, axis=-1, workers=threads()))
            part[:] = scipy.fft.irfft(spectra, self._length, axis=-1, workers=threads())[..., : out.shape[-1]]


class _Rows:
    """The rows of a PSF that are not zero: where the kernel reads them, and their transforms."""

    def __init__(self, psf: np.ndarray, length: int):
        mirrored = np.flip(psf).reshape((1,) * (3 - psf.ndim) + psf.shape)
        self._support = mirrored.shape[:2]
        filled = mirrored.any(-1)
        self._places = np.argwhere(filled)
        transforms = np.fft.rfft(mirrored[filled], length).conj()
        # As the kernel multiplies: numbers as they stand by the real part, exchanged in pairs by the imaginary one.
        self._real = Constant(np.repeat(transforms.real, 2, axis=-1).ravel())
        self._imaginary = Constant(np.stack([-transforms.imag, transforms.imag], axis=-1).ravel())

    def applied(self, spectra: np.ndarray) -> np.ndarray:
        """The sum over the rows of the PSF of their transforms times those of a volume's rows."""
        from recon.operators._convolution_kernels import BAND, transforms_job

        depth, rows = (n - k + 1 for n, k in zip(spectra.shape, self._support, strict=False))
        spectra = filled_up(spectra, BAND - rows)
        numbers = spectra.view(spectra.real.dtype)[None]
        offsets = self._places @ np.array([numbers.shape[-2] * numbers.shape[-1], numbers.shape[-1]])
        out = np.empty((depth, max(rows, BAND), spectra.shape[-1]), spectra.dtype)
        tables = offsets, self._real.like(numbers), self._imaginary.like(numbers)
        launch(transforms_job, BAND, numbers, tables, out.view(numbers.dtype)[None])
        return out[:, :rows]
