"""Convolution by transforms along the rows, and a sum over the rows of the point spread function.

Of the passes over an image that a transform in the plane makes, those down the columns take longer than some tens of
products, and need columns extended to a length that has a quick transform.
"""

from __future__ import annotations

import numpy as np

from recon.operators._constants import Constant
from recon.operators._tap_sums import as_images, as_volumes, filled_up, valid_shape
from solvers.arrays import threads
from solvers.kernels import run_jobs

BLOCK = 96
"""Rows of the result that one job computes at least: some more are transformed, and should stay in the cache."""

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
        """Write the convolution of one volume, some rows at a time."""
        import scipy.fft

        overlap = volume.shape[1] - out.shape[1]  # rows that are transformed twice
        some = _share(out.shape[1], overlap)

        def job(k: int) -> None:
            found = out[:, k * some : (k + 1) * some]
            read = volume[:, k * some : k * some + found.shape[1] + overlap]
            spectra = rows.applied(scipy.fft.rfft(read, self._length, axis=-1))
            found[:] = scipy.fft.irfft(spectra, self._length, axis=-1)[..., : out.shape[-1]]

        run_jobs(job, volume.size, -(-out.shape[1] // some))


def _share(rows: int, overlap: int) -> int:
    """Rows for one job: as many for each thread, and far more than are transformed twice."""
    jobs = max(rows // max(BLOCK, 5 * overlap) // threads(), 1) * threads()
    return -(-rows // min(jobs, max(rows // (overlap + 1), 1)))


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
        from recon.operators._convolution_kernels import BAND, sum_transforms

        depth, rows = (n - k + 1 for n, k in zip(spectra.shape, self._support, strict=False))
        numbers = filled_up(spectra, BAND - rows).view(spectra.real.dtype)
        _, height, width = numbers.shape
        places = self._places @ np.array([height * width, width])
        weights = self._real.like(numbers), self._imaginary.like(numbers)
        out = np.empty((depth, max(rows, BAND), width), numbers.dtype)
        sum_transforms(numbers.reshape(-1), (1, *numbers.shape), places, *weights, out.reshape(-1), (1, *out.shape))
        return out.view(spectra.dtype)[:, :rows]
