"""A denoiser made the gradient step of a function: plug-and-play with an objective.

    g(x) = 1/2 |x - N(x)|^2,   D(x) = x - g'(x) = N(x) + N'(x)^T (x - N(x))

for any network N. The objective ``data(A x) + strength * g(x)`` can then be evaluated, and made to decrease.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from priors.base import Prior
from priors.denoisers import Denoiser
from priors.plug_and_play import PlugAndPlay, denoised
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError
from solvers.validation import positive_float

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GradientStep(Prior):
    r"""Prior ``g(x) = 1/2 |x - N(x, level)|^2`` of a denoiser N, whose gradient is taken through its network.

    It is for the solvers that use the gradient and look at the objective: ``data-proximal``, ``lbfgs``, ``gradient``.
    Steps are kept only where they lower the objective, so the objective decreases and converges. That the iterates
    approach stationary points needs more: a network whose derivative is Lipschitz continuous. One with kinks (ReLU), as
    ours, has none, and this is then not proved.

    Called as a denoiser, ``D(v, sigma) = v - g'(v)`` at the level sigma.

    Parameters
    ----------
    level : float
        Noise level N is told, in the image's unit.
    denoiser : callable
        ``N(v, sigma)`` that takes torch tensors and passes gradients; by default the one that comes with the library.

    References
    ----------
    S. Hurault, A. Leclaire, N. Papadakis, "Gradient step denoiser for convergent plug-and-play", ICLR (2022).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import GradientStep
    >>> halved = GradientStep(0.1, lambda v, sigma: v / 2)
    >>> halved.value(np.array([[2.0, 0.0]])), halved.gradient(np.array([[2.0, 0.0]]))
    (0.5, array([[0.5, 0. ]]))
    """

    level: float
    denoiser: Callable[[Any, float], Any] = field(default_factory=Denoiser)

    def __post_init__(self) -> None:
        PlugAndPlay(self.denoiser)
        object.__setattr__(self, "level", positive_float("level", self.level))

    @property
    def image_ndim(self) -> int:
        """Two: rows and columns."""
        return 2

    def gradient(self, x: Array) -> Array:
        """``(x - N(x)) - N'(x)^T (x - N(x))``."""
        x = self._admit("x", x)
        out = _gradient(self.denoiser, _tensor(x), self.level)
        return out if arrays.is_torch(x) else out.numpy()

    def __call__(self, v: Array, sigma: float) -> Array:
        """``D(v, sigma)``: a gradient step of the length 1."""
        return v - GradientStep(sigma, self.denoiser).gradient(v)

    def _value(self, x: Array) -> Any:
        import torch

        if arrays.is_torch(x):
            return 0.5 * _power(x - denoised(self.denoiser, x, self.level))
        with torch.no_grad():
            return 0.5 * float(_power(_tensor(x) - denoised(self.denoiser, _tensor(x), self.level)))

    def _prox(self, v: Array, step: Any) -> Array:
        raise OperatorError(
            f"{self!r} has a gradient and no proximal map in closed form. Use solver='data-proximal', 'lbfgs' or "
            "'gradient', or the denoiser itself in priors.PlugAndPlay."
        )


def _gradient(denoiser: Callable[[Any, float], Any], x: Tensor, level: float) -> Tensor:
    """The gradient at ``x``; with gradients of its own where ``x`` has them."""
    import torch

    follow = torch.is_grad_enabled() and x.requires_grad
    with torch.enable_grad():
        at = x if follow else x.detach().requires_grad_()
        removed = at - denoised(denoiser, at, level)
        (out,) = torch.autograd.grad(0.5 * _power(removed), at, create_graph=follow)
    return out


def _power(x: Tensor) -> Any:
    return arrays.dot(x, x)


def _tensor(x: Array) -> Tensor:
    import torch

    return x if arrays.is_torch(x) else torch.from_numpy(np.ascontiguousarray(x))
