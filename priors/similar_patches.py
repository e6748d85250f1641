"""Groups of similar patches as a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, ShapeError
from solvers.kernels import run_jobs
from solvers.validation import as_inexact, positive_float, positive_int

JOBS = 16  # each with sums of its own; not more for more threads, so that the answer does not depend on them


@dataclass(frozen=True)
class SimilarPatches:
    """Denoiser ``D(v, sigma)``: patches that look alike are made a matrix of low rank.

    From each group, its mean taken off, singular values below ``sigma (patch + sqrt(similar))`` are left out, the
    largest that white noise has; where patches overlap, those of groups of low rank count more. Computed in single
    precision. For tensors it runs on the CPU and has no gradient.

    Parameters
    ----------
    patch : int
        Width of a patch in pixels.
    similar : int
        Patches of a group.
    reach : int
        Largest distance of patches that are compared.
    stride : int
        Distance of the patches for which groups are looked for.

    References
    ----------
    Dong, Shi and Li, "Nonlocal image restoration with bilateral variance estimation: a low-rank approach", IEEE Trans.
    Image Process. 22 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import SimilarPatches
    >>> v = np.random.default_rng(0).standard_normal((24, 24))
    >>> bool(SimilarPatches()(v, 1.0).std() < 0.5)
    True
    """

    patch: int = 6
    similar: int = 40
    reach: int = 20
    stride: int = 4

    def __post_init__(self) -> None:
        for name in ("patch", "similar", "reach", "stride"):
            positive_int(name, getattr(self, name))

    def __call__(self, v: Array, sigma: float, like: Array | None = None) -> Array:
        """Remove white Gaussian noise of standard deviation ``sigma``.

        Parameters
        ----------
        v : array
            Real images, ``(..., rows, columns)``.
        sigma : float
            Standard deviation of the noise, at least 0.
        like : array, optional
            Images of the same shape that tell which patches are similar. None takes ``v``.

        Returns
        -------
        array
            Of the shape and dtype of ``v``.
        """
        v, sigma = as_inexact("v", v), positive_float("sigma", sigma, zero=True)
        like = v if like is None else as_inexact("like", like)
        image, guide = arrays.to_numpy(v), arrays.to_numpy(like)
        if np.iscomplexobj(image) or np.iscomplexobj(guide):
            raise DTypeError("v is complex; SimilarPatches takes real images. Pass real and imaginary part.")
        if image.ndim < 2 or min(image.shape[-2:]) < self.patch:
            raise ShapeError(f"v has shape {image.shape}; expected planes of at least {self.patch} pixels a side.")
        if guide.shape != image.shape:
            raise ShapeError(f"like has shape {guide.shape}; expected {image.shape}. Pass an image like v.")
        if sigma == 0:
            return v + 0
        planes = zip(image.reshape(-1, *image.shape[-2:]), guide.reshape(-1, *image.shape[-2:]), strict=True)
        out = [self._plane(plane, other, sigma) for plane, other in planes]
        return arrays.to_device_of(np.reshape(out, image.shape).astype(image.dtype, copy=False), v)

    def _plane(self, image: np.ndarray, guide: np.ndarray, sigma: float) -> np.ndarray:
        """One plane in units of the noise."""
        from priors.similar_patch_kernels import match, shrink

        rows, columns = (self._places(n) for n in image.shape)
        v, like = (np.ascontiguousarray(a / sigma, dtype=np.float32) for a in (image, guide))
        fewest = math.prod(min(n - self.patch, self.reach) + 1 for n in v.shape)  # in a corner
        found = np.empty((rows.size * columns.size, min(self.similar, fewest)), np.int32)
        run_jobs(match, found.size * self.patch**2, JOBS, JOBS, like, rows, columns, self.patch, self.reach, found)
        total = np.zeros((JOBS, *v.shape), np.float32)
        weight = np.zeros_like(total)
        threshold = self.patch + math.sqrt(found.shape[1])
        run_jobs(shrink, found.size * self.patch**2, JOBS, JOBS, v, found, self.patch, threshold, total, weight)
        share = weight.sum(0)
        return np.where(share > 0, sigma * total.sum(0) / np.maximum(share, 1e-6), image)

    def _places(self, n: int) -> np.ndarray:
        """First pixels of the reference patches along an axis, the last one at its end."""
        return np.append(np.arange(0, n - self.patch, self.stride), n - self.patch)
