"""Denoisers in place of proximal maps (plug-and-play) or of gradients (regularisation by denoising).

A proximal map of step ``s`` removes from an image what a prior finds unlikely under white noise of variance ``s``; a
denoiser does the same without saying which prior it has in mind. Venkatakrishnan, Bouman and Wohlberg 2013; Romano,
Elad and Milanfar 2017.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError
from solvers.plug_and_play import in_position
from solvers.validation import positive_float


@dataclass(frozen=True)
class PlugAndPlay(Prior):
    """Prior that is known only by a denoiser: ``prox(v, step) = D(v, sqrt(step))``.

    Any solver that takes proximal maps of the image itself runs with it: ``dpir``, ``half-quadratic``, ``fista``,
    ``admm``, ``douglas-rachford``, ``pdhg``; ``reconstruct`` gives all but the first a :class:`LeastLevel`. There is an
    objective behind it only for denoisers that are proximal maps; the value is therefore not a number, and convergence
    is that of the iterates.

    Parameters
    ----------
    denoiser : callable
        ``D(v, sigma)``: the image without white noise of standard deviation ``sigma``, both in the image's unit. It
        keeps shape and dtype; leading axes are a batch.
    level : float, optional
        Standard deviation to remove, whatever the step. None takes the square root of the step.

    References
    ----------
    S. V. Venkatakrishnan, C. A. Bouman, B. Wohlberg, "Plug-and-play priors for model based reconstruction", IEEE
    GlobalSIP (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> v = np.random.default_rng(0).standard_normal((24, 24))
    >>> bool(PlugAndPlay(NonLocalMeans()).prox(v, 1.0).std() < 0.5)
    True
    """

    denoiser: Callable[[Array, float], Array]
    level: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.denoiser):
            raise DTypeError(
                f"denoiser is {self.denoiser!r}; expected a function D(v, sigma). "
                "Pass one, such as priors.NonLocalMeans()."
            )
        if self.level is not None:
            positive_float("level", self.level)

    def _value(self, x: Array) -> float:
        return math.nan

    def _prox(self, v: Array, step: Any) -> Array:
        if not step > 0:
            return v
        return denoised(self.denoiser, v, self.level if self.level is not None else math.sqrt(arrays.to_float(step)))

    def prox_from(self, v: Array, step: Any, dual: Any = None, **options: Any) -> tuple[Array, Any]:
        """The denoised image, clipped to the ``bounds`` where there are any."""
        x = self.prox(v, step)
        bounds = options.get("bounds")
        return (x if bounds is None else arrays.namespace(x).clip(x, *bounds)), None


@dataclass(frozen=True)
class RED(Prior):
    """Regularisation by denoising: the gradient of the prior is what the denoiser removes, ``x - D(x, level)``.

    The value is ``x . (x - D(x)) / 2``, whose gradient this is where the denoiser is locally homogeneous with a
    symmetric Jacobian. For the smooth solvers; those with proximal maps take a fixed point of a few calls each time.

    Parameters
    ----------
    denoiser : callable
        See :class:`PlugAndPlay`.
    level : float
        Standard deviation to remove, in the image's unit.

    References
    ----------
    Y. Romano, M. Elad, P. Milanfar, "The little engine that could: regularization by denoising (RED)", SIAM J. Imaging
    Sci. 10 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import RED, NonLocalMeans
    >>> flat = np.ones((16, 16))
    >>> bool(abs(RED(NonLocalMeans(), 0.1).gradient(flat)).max() < 1e-6)
    True
    """

    denoiser: Callable[[Array, float], Array]
    level: float

    inner_steps = 20  # at most, of the fixed point that is the proximal map
    inner_tol = 1e-3  # relative change of the image at which it ends

    def __post_init__(self) -> None:
        PlugAndPlay(self.denoiser, self.level)

    def gradient(self, x: Array) -> Array:
        """``x - D(x, level)``."""
        x = self._admit("x", x)
        return x - denoised(self.denoiser, x, self.level)

    def _value(self, x: Array) -> Any:
        return 0.5 * arrays.dot(x, self.gradient(x))

    def _prox(self, v: Array, step: Any) -> Array:
        x = v
        for _ in range(self.inner_steps):
            before, x = x, (v + step * denoised(self.denoiser, x, self.level)) / (1 + step)
            if arrays.to_float(arrays.norm(x - before)) <= self.inner_tol * arrays.to_float(arrays.norm(x)):
                break
        return x


@dataclass(frozen=True)
class Averaged:
    """Denoiser ``share * D(v, sigma) + (1 - share) * v``: less is removed at a time, which keeps iterations stable.

    Parameters
    ----------
    denoiser : callable
        See :class:`PlugAndPlay`.
    share : float
        In (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Averaged
    >>> Averaged(lambda v, sigma: 0 * v, 0.25)(np.ones(2), 0.1)
    array([0.75, 0.75])
    """

    denoiser: Callable[[Array, float], Array]
    share: float = 0.2

    def __post_init__(self) -> None:
        if positive_float("share", self.share) > 1:
            raise ArgumentError(f"share is {self.share}; expected at most 1. Pass the share of the denoised image.")

    def __call__(self, v: Array, sigma: float) -> Array:
        """The average of the image and the denoised one."""
        return arrays.lincomb(self.share, denoised(self.denoiser, v, sigma), 1.0 - self.share, v)


@dataclass(frozen=True)
class LeastLevel:
    """Denoiser that is never told less noise than ``level``; of what it removes there, less noise takes a share.

        D'(v, sigma) = v + min(sigma / level, 1)^2 (D(v, max(sigma, level)) - v)

    For small ``sigma`` that is a step along the score of the images smoothed by ``level``, whose length follows
    ``sigma^2``: solvers with short and with long steps then settle on the same image. A denoiser that is told next to
    no noise removes nothing, and what the data do not see grows.

    Parameters
    ----------
    denoiser : callable
        See :class:`PlugAndPlay`.
    level : float
        In the image's unit.

    References
    ----------
    E. Reehorst, P. Schniter, "Regularization by denoising: clarifications and new interpretations", IEEE Trans. Comput.
    Imaging 5 (2019), on denoisers as scores.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import LeastLevel
    >>> LeastLevel(lambda v, sigma: 0 * v, 0.2)(np.ones(2), 0.1)
    array([0.75, 0.75])
    """

    denoiser: Callable[[Array, float], Array]
    level: float

    def __post_init__(self) -> None:
        positive_float("level", self.level)

    def __call__(self, v: Array, sigma: float) -> Array:
        """The share of the denoised image that is due."""
        x = denoised(self.denoiser, v, max(sigma, self.level))
        return x if sigma >= self.level else arrays.axpy((sigma / self.level) ** 2, x - v, v)


@dataclass(frozen=True)
class Equivariant:
    """Denoiser that is turned and mirrored at random with the image, so that no direction is preferred in the long run.

    Which of the eight symmetries of the square is taken follows from the image itself: another one in each step, the
    same one for the same image.

    Parameters
    ----------
    denoiser : callable
        See :class:`PlugAndPlay`.
    average : bool
        Take the mean over all eight instead, at eight times the cost.

    References
    ----------
    M. Terris, T. Moreau, N. Pustelnik, J. Tachella, "Equivariant plug-and-play image reconstruction", CVPR (2024).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Equivariant
    >>> v = np.arange(6.0).reshape(2, 3)
    >>> bool((Equivariant(lambda v, sigma: v)(v, 0.1) == v).all())
    True
    """

    denoiser: Callable[[Array, float], Array]
    average: bool = False

    def __call__(self, v: Array, sigma: float) -> Array:
        """The image denoised in another position and brought back."""
        if self.average:
            return sum(self._turned(v, sigma, symmetry) for symmetry in range(8)) / 8
        return self._turned(v, sigma, zlib.crc32(np.ascontiguousarray(arrays.to_numpy(v)).data) % 8)

    def _turned(self, v: Array, sigma: float, symmetry: int) -> Array:
        return in_position(lambda turned: denoised(self.denoiser, turned, sigma), v, symmetry)


@dataclass(frozen=True)
class AllPlanes:
    """Denoiser of volumes: the mean of what a denoiser of images makes of the planes of all three directions.

    Slice by slice alone, neighbouring slices are denoised apart and do not fit together.

    Parameters
    ----------
    denoiser : callable
        See :class:`PlugAndPlay`; it takes images in the last two axes, others being a batch.

    References
    ----------
    S. Majee, T. Balke, C. A. J. Kemp, G. T. Buzzard, C. A. Bouman, "Multi-slice fusion for sparse-view and
    limited-angle 4D CT reconstruction", IEEE Trans. Comput. Imaging 7 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import AllPlanes
    >>> AllPlanes(lambda v, sigma: 0.5 * v)(np.ones((2, 2, 1)), 0.1).ravel()
    array([0.5, 0.5, 0.5, 0.5])
    """

    denoiser: Callable[[Array, float], Array]

    def __call__(self, v: Array, sigma: float) -> Array:
        """The mean over three directions; ``v`` is ``(..., slices, rows, columns)``."""
        if v.ndim < 3:
            raise ShapeError(f"v has shape {tuple(v.shape)}; expected a volume of at least 3 axes. Pass one.")
        xp = arrays.namespace(v)
        planes = (xp.moveaxis(v, across, -3) for across in (-3, -2, -1))
        return (
            sum(
                xp.moveaxis(denoised(self.denoiser, plane, sigma), -3, across)
                for across, plane in zip((-3, -2, -1), planes, strict=True)
            )
            / 3
        )


def denoised(denoiser: Callable[[Array, float], Array], v: Array, sigma: float) -> Array:
    """``D(v, sigma)``, refused where it is no image like ``v``."""
    x = denoiser(v, sigma)
    given, expected = getattr(x, "shape", None), tuple(v.shape)
    if given is None or tuple(given) != expected or arrays.is_torch(x) != arrays.is_torch(v):
        raise OperatorError(
            f"the denoiser {denoiser!r} returned {type(x).__name__} of shape {given}; expected {type(v).__name__} of "
            f"shape {expected}. Make it return an image like the one it is given."
        )
    return x.to(v.dtype) if arrays.is_torch(x) else x.astype(v.dtype, copy=False)
