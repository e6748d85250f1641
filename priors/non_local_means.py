"""Non-local means as a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import as_inexact, positive_float, positive_int


@dataclass(frozen=True)
class NonLocalMeans:
    """Denoiser ``D(v, sigma)``: every pixel becomes the mean of those whose surroundings look alike.

    The weight of another pixel is ``exp(-max(d^2 - 2 sigma^2, 0) / (strength sigma)^2)``, d^2 being the mean squared
    difference of the patches around both. Computed by scikit-image. For tensors it runs on the CPU and has no gradient.

    Parameters
    ----------
    ndim : int
        Number of trailing spatial axes: 2 or 3. Leading axes are a batch.
    channels : bool
        Whether the axis before the spatial ones holds channels, denoised together. The real and imaginary parts of
        complex images always are.
    patch : int
        Width of a patch in pixels.
    reach : int
        Largest distance of pixels that are compared.
    strength : float
        Width of the weights over ``sigma``.

    References
    ----------
    Buades, Coll and Morel 2005; weights for known noise and the fast sums: Darbon et al. 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonLocalMeans
    >>> v = np.random.default_rng(0).standard_normal((24, 24))
    >>> bool(NonLocalMeans()(v, 1.0).std() < 0.5)
    True
    """

    ndim: int = 2
    channels: bool = False
    patch: int = 5
    reach: int = 7
    strength: float = 0.6

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3) or isinstance(self.ndim, bool):
            raise ArgumentError(f"ndim is {self.ndim!r}; expected 2 or 3. Pass the number of spatial axes.")
        positive_int("patch", self.patch)
        positive_int("reach", self.reach)
        positive_float("strength", self.strength)

    def __call__(self, v: Array, sigma: float) -> Array:
        """Remove white Gaussian noise of standard deviation ``sigma`` (of complex images: of either part).

        Parameters
        ----------
        v : array
            Image, ``(..., [channels,] *spatial)``.
        sigma : float
            Standard deviation of the noise, at least 0.

        Returns
        -------
        array
            Of the shape and dtype of ``v``.
        """
        v, sigma = as_inexact("v", v), positive_float("sigma", sigma, zero=True)
        core = self.ndim + self.channels
        if v.ndim < core:
            raise ShapeError(f"v has shape {tuple(v.shape)}; {self!r} takes images of at least {core} axes. Add one.")
        image = arrays.to_numpy(v)
        if sigma == 0 or not image.size:
            return v + 0
        flat = image.reshape((math.prod(image.shape[: image.ndim - core]), *image.shape[image.ndim - core :]))
        out = np.stack([self._one(item, sigma) for item in flat]).reshape(image.shape)
        return arrays.to_device_of(out.astype(image.dtype, copy=False), v)

    def _one(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """One image in units of the noise, channels last as scikit-image takes them."""
        stacked = image if self.channels else image[None]
        if np.iscomplexobj(image):
            stacked = np.concatenate((stacked.real, stacked.imag))
        out = self._denoised(np.moveaxis(stacked, 0, -1) / sigma) * sigma
        out = np.moveaxis(out, -1, 0)
        if np.iscomplexobj(image):
            half = len(out) // 2
            out = out[:half] + 1j * out[half:]
        return out if self.channels else out[0]

    def _denoised(self, image: np.ndarray) -> Any:
        from skimage.restoration import denoise_nl_means

        out = denoise_nl_means(
            image, self.patch, self.reach, h=self.strength, sigma=1.0, fast_mode=True, channel_axis=-1
        )
        return out.reshape(image.shape)  # a single channel comes back without its axis
