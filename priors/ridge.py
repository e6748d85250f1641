"""A learned regulariser whose minimisers can be proved to be found: the weakly convex ridge regulariser.

    g(x) = l^2 * R(x / l),   l = 0.88 * level,   R(u) = sum_i sum_p psi(c_i (W_i u)_p) / c_i^2

Filters ``W`` of norm at most one, one profile psi with ``-w <= psi'' <= L``: the gradient of g is known exactly, it has
the Lipschitz constant L, and ``g + w/2 |x|^2`` is convex.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from priors import weights
from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, FileError, OperatorError, ShapeError
from solvers.validation import positive_float, positive_int

if TYPE_CHECKING:
    from torch import Tensor

    from priors._ridge_body import Ridge

WHOLE = 0.88
"""Level of a whole image over that of the patches of 40 pixels, mostly border, that it was trained on: best on training
images of 256 pixels at noise of 15 and 25 of 255, where it gains 0.19 and 0.25 dB."""
SLACK, NORM_WIDTH, FREQUENCIES = 1.01, 48, 512
"""The filters' squared norm is taken a hundredth above the larger one of images of this width with their borders, by
Lanczos, and of images without borders, at so many frequencies."""


@dataclass(frozen=True)
class RidgeRegulariser(Prior):
    """Learned weakly convex regulariser ``g(x) = l^2 R(x / l)``, ``l = 0.88 level``, smooth and with a known curvature.

    ``prox(v, 1)`` removes white noise of standard deviation ``level``. The level carries the unit:
    ``g(c x)`` at the level ``c level`` is ``c^2 g(x)``, so that every unit gives the same image. The regulariser is not
    convex, but proximal maps up to the step ``1 / weak_convexity()`` are minimisers of a strongly convex function and
    unique; beyond, use the gradient (``solver="lbfgs"``), which leads to a stationary point of the objective. Real and
    imaginary parts are two images.

    Parameters
    ----------
    level : float
        Standard deviation of the noise that it tells from the image, in the image's unit.
    name : str or path
        A name of :func:`priors.available`, or a ``.safetensors`` file that ``recon train`` wrote with
        ``kind = "ridge"``.
    tol : float
        Root mean square of the objective's gradient, over the level, at which the proximal map ends.
    iterations : int
        Steps of the proximal map at most.

    References
    ----------
    A. Goujon, S. Neumayer, M. Unser, "Learning weakly convex regularizers for convergent image-reconstruction
    algorithms", SIAM J. Imaging Sci. 17 (2024).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import RidgeRegulariser
    >>> noisy = 100 + 10 * np.random.default_rng(0).standard_normal((32, 32))
    >>> bool(RidgeRegulariser(10.0).prox(noisy, 1.0).std() < 3)
    True
    """

    level: float
    name: str | os.PathLike[str] = "ridge"
    tol: float = 1e-3
    iterations: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", positive_float("level", self.level))
        positive_float("tol", self.tol)
        positive_int("iterations", self.iterations)
        if not isinstance(self.name, (str, os.PathLike)):
            raise DTypeError(f"name is {self.name!r}; expected a name of priors.available() or a path. Pass one.")

    @property
    def _told(self) -> float:
        """The level in the regulariser's own terms."""
        return WHOLE * self.level

    @property
    def image_ndim(self) -> int:
        """Two: rows and columns."""
        return 2

    def gradient(self, x: Array) -> Array:
        """``level * R'(x / level)``."""
        from priors import _ridge_maps

        return self._mapped(self._admit("x", x), _ridge_maps.gradient)

    def curvature(self) -> float:
        """Lipschitz constant of the gradient: largest second derivative along any direction."""
        return self._bounds()[1]

    def weak_convexity(self) -> float:
        """The least w for which ``g(x) + w/2 |x|^2`` is known to be convex."""
        return self._bounds()[0]

    def _value(self, x: Array) -> Any:
        from priors import _ridge_maps

        total = self._told**2 * _ridge_maps.value(*self._images(x))
        return total if arrays.is_torch(x) else float(total)

    def _prox(self, v: Array, step: Any) -> Array:
        if arrays.to_float(step) * self.weak_convexity() >= 1:
            raise OperatorError(
                f"step is {arrays.to_float(step):g}; the proximal map of {self!r} is unique for steps below "
                f"{1 / self.weak_convexity():.4g}. Take shorter steps, or a solver that uses the gradient: 'lbfgs'."
            )
        from priors import _ridge_maps

        return self._mapped(v, _ridge_maps.proximal, step, self.tol, self.iterations)

    def _mapped(self, x: Array, function: Any, *options: Any) -> Array:
        """A function of ``(ridge, images in levels)`` as one of an array."""
        import torch

        ridge, images = self._images(x)
        out = (self._told * function(ridge, images, *options)).to(images.dtype)
        if arrays.is_complex(x):
            out = torch.view_as_complex(out.view(-1, 2, *out.shape[2:]).movedim(1, -1).contiguous())
        out = out.view(tuple(x.shape))
        return out if arrays.is_torch(x) else out.numpy()

    def _images(self, x: Array) -> tuple[Ridge, Tensor]:
        """The regulariser in the precision of ``x``, and the images in levels, ``(batch, 1, rows, columns)``."""
        import torch

        ridge_of = _loaded(*self._file())
        image = x if arrays.is_torch(x) else torch.from_numpy(np.ascontiguousarray(x))
        rows, columns = image.shape[-2:]
        if image.is_complex():
            image = torch.view_as_real(image).movedim(-1, -3)
        ridge = ridge_of(image.dtype, str(image.device))
        if min(rows, columns) < ridge.reach:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}; {self!r} takes images of at least {ridge.reach} x {ridge.reach} "
                "pixels. Pass larger ones."
            )
        return ridge, image.reshape(-1, 1, rows, columns) / self._told

    def _bounds(self) -> tuple[float, float]:
        return _loaded(*self._file()).bounds

    def _file(self) -> tuple[str, int | None]:
        given = os.fspath(self.name)
        return given, None if given in weights.available() or not os.path.exists(given) else os.stat(given).st_mtime_ns


@dataclass(frozen=True)
class _Loaded:
    """Weights as they were read; :meth:`__call__` gives them in a precision and on a device."""

    tensors: tuple[Tensor, ...]
    bounds: tuple[float, float]
    """Of minus the smallest and of the largest second derivative."""

    def __call__(self, dtype: Any, device: str) -> Ridge:
        from priors._ridge_body import Ridge

        return Ridge.of([t.to(device, dtype) for t in self.tensors])


@lru_cache(maxsize=8)
def _loaded(name_or_path: str, changed: int | None) -> _Loaded:
    import torch

    from priors._ridge_body import Ridge
    from priors.ridge_network import RidgeArchitecture, RidgeNetwork, gain
    from solvers.step_sizes import lanczos_norm

    found = weights.read(name_or_path)
    if found.architecture.get("kind") != "ridge":
        raise FileError(
            f"{name_or_path} holds a denoising network; expected a ridge regulariser. Use priors.Denoiser for it."
        )
    with torch.random.fork_rng(devices=()), torch.no_grad():  # the caller's random numbers stay as they are
        network = RidgeNetwork(RidgeArchitecture(tuple(found.architecture["widths"])))
        network.load_state_dict(found.tensors)
        network.project()
        tensors = tuple(weight.detach() for weight in network.double().weights())
    ridge = Ridge.of(tensors)

    def both(x: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(x)[None, None]
        return ridge.synthesis(ridge.border(image) * ridge.analysis(image))[0, 0].numpy()

    bordered = lanczos_norm(both, (NORM_WIDTH, NORM_WIDTH), dtype=np.float64)
    squared = SLACK * max(bordered, float(gain(list(tensors[2:]), FREQUENCIES))) ** 2
    second = tensors[1][:, 2]
    return _Loaded(tensors, (squared * max(float(-second.min()), 0.0), squared * max(float(second.max()), 0.0)))
