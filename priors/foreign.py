"""Denoisers of other packages as denoisers of this one: any unit, leading axes, numpy or torch, complex images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, ShapeError
from solvers.validation import as_inexact, positive_float

SPREAD = 0.25
"""Standard deviation of photographs in [0, 1]: images are scaled to it, with their mean at the middle."""


@dataclass(frozen=True)
class TorchDenoiser:
    """A torch module for images in [0, 1] as a denoiser in the unit of the image.

    Parameters
    ----------
    network : torch.nn.Module or callable
        ``network(v, sigma)`` takes a tensor ``(images, channels, rows, columns)`` and the standard deviation of the
        noise, as the denoisers of deepinv do, and returns a tensor of the same shape.
    channels : bool
        Whether the axis before the last two holds the colours that the network takes together. Otherwise every
        ``(rows, columns)`` is an image of one channel.

    Raises
    ------
    DTypeError
        ``network`` cannot be called.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from priors import TorchDenoiser
    >>> blur = torch.nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    >>> TorchDenoiser(lambda v, sigma: blur(v))(np.full((4, 4), -1000.0), 20.0).round()[0]
    array([-1000., -1000., -1000., -1000.])
    """

    network: Callable[..., Any]
    channels: bool = False

    def __post_init__(self) -> None:
        if not callable(self.network):
            raise DTypeError(f"network is {self.network!r}; expected a torch module network(v, sigma). Pass one.")

    def __call__(self, v: Array, sigma: float) -> Array:
        """Remove white Gaussian noise of standard deviation ``sigma``, in the unit of ``v``."""
        return _in_unit_range(self._run, v, sigma, 3 if self.channels else 2)

    def _run(self, images: Array, sigma: float) -> Array:
        import torch

        batch = images if arrays.is_torch(images) else torch.from_numpy(np.ascontiguousarray(images))
        batch = batch if self.channels else batch[:, None]
        with torch.set_grad_enabled(torch.is_grad_enabled() and batch.requires_grad):
            found = self.network(batch.float(), sigma).to(batch.dtype)
        found = found if self.channels else found[:, 0]
        return found if arrays.is_torch(images) else found.numpy()


@dataclass(frozen=True)
class BM3D:
    """Block matching and three-dimensional filtering, by the package ``bm3d``, in the unit of the image.

    Seconds an image: for comparison rather than for use. Its licence allows non-commercial use only.

    Raises
    ------
    ImportError
        The package is not installed.

    References
    ----------
    K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain collaborative
    filtering", IEEE Trans. Image Process. 16 (2007).

    Examples
    --------
    >>> from priors import BM3D
    >>> BM3D()
    BM3D()
    """

    def __call__(self, v: Array, sigma: float) -> Array:
        """Remove white Gaussian noise of standard deviation ``sigma`` from each ``(rows, columns)`` of ``v``."""
        return _in_unit_range(self._run, v, sigma, 2)

    @staticmethod
    def _run(images: Array, sigma: float) -> Array:
        import bm3d

        found = np.stack([bm3d.bm3d(image, sigma) for image in arrays.to_numpy(images)])
        return arrays.asarray(found, images)


def _in_unit_range(run: Callable[[Array, float], Array], v: Array, sigma: float, core: int) -> Array:
    """``run(images, sigma)`` on a stack of real images that mostly lie in [0, 1]; back in the unit of ``v``."""
    v, sigma = as_inexact("v", v), positive_float("sigma", sigma, zero=True)
    if v.ndim < core:
        raise ShapeError(f"v has shape {tuple(v.shape)}; expected at least {core} axes. Pass such an array.")
    if sigma == 0:
        return v
    if arrays.is_complex(v):  # the real and the imaginary part hold independent noise of this level
        xp = arrays.namespace(v)
        parts = _in_unit_range(run, xp.stack([v.real, v.imag]), sigma, core)
        return parts[0] + 1j * parts[1]
    mean = v.mean()
    spread = max(arrays.to_float(arrays.norm(v - mean)) / arrays.size(v) ** 0.5, sigma)
    scale = SPREAD / spread
    images = ((v - mean) * scale + 0.5).reshape(-1, *v.shape[v.ndim - core :])
    return (run(images, sigma * scale).reshape(v.shape) - 0.5) / scale + mean
