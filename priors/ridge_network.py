"""The weakly convex ridge regulariser as a torch module whose weights can be trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from priors._ridge_body import Ridge
from priors._ridge_descent import minimised, solved
from solvers.validation import positive_int

SIZE, KNOTS = 5, 32
"""Width of each convolution's kernel; linear pieces of the profile's derivative on either side."""
SPECTRUM = 128
"""Frequencies along an axis at which the gain of the filters is taken."""
MARGIN = 0.99
"""Gain of the filters at those frequencies; between them and at borders it may be a little larger."""
CONVEX = 0.97
"""The profile's second derivative is at least minus this."""
SLOPE_UNIT, SCALE_UNIT = 10.0, 60.0
"""Of the weights of the profile and of the responses, for which steps of one size then suit all weights."""
TOL, STEPS, ADJOINT_TOL, ADJOINT_STEPS = 0.05, 18, 0.05, 5
"""Of denoising and of its derivative in training; more digits make no better weights."""


@dataclass(frozen=True)
class RidgeArchitecture:
    """Sizes of a :class:`RidgeNetwork`.

    Parameters
    ----------
    widths : sequence of int
        Channels of the convolutions that make the filters one after the other.
    """

    widths: tuple[int, ...] = (4, 8, 60)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(positive_int("widths", n) for n in self.widths))

    def as_dict(self) -> dict[str, Any]:
        """The sizes as plain numbers and lists, for a file."""
        return {"kind": "ridge", "widths": list(self.widths)}


class RidgeNetwork(nn.Module):
    r"""Denoiser ``D(v, sigma) = argmin_x 1/2 |x - v|^2 + sigma^2 R(x / sigma)`` with a learned regulariser R.

    ``R(x) = sum_i sum_p psi(c_i (W_i x)_p) / c_i^2`` with linear filters ``W`` of norm at most one that do not see
    constants, and one profile psi that grows with the size of a response. Its derivative is a linear spline of slopes
    above -1, so that the objective is convex. As with :class:`~priors.networks.UNet`,
    ``D(c v, c sigma) = c D(v, sigma)``.

    References
    ----------
    A. Goujon, S. Neumayer, M. Unser, "Learning weakly convex regularizers for convergent image-reconstruction
    algorithms", SIAM J. Imaging Sci. 17 (2024).
    """

    def __init__(self, architecture: RidgeArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        inputs = (1, *architecture.widths)
        self.filters = nn.ParameterList(
            nn.Parameter(torch.randn(b, a, SIZE, SIZE) / (math.sqrt(a) * SIZE))
            for a, b in zip(inputs, architecture.widths, strict=False)
        )
        self.scales = nn.Parameter(torch.zeros(architecture.widths[-1]))
        u = (torch.arange(KNOTS) + 0.5) * 4.8 / KNOTS
        self.slopes = nn.Parameter(8 * (1 - u**2) / (1 + u**2) ** 2 / SLOPE_UNIT)
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Bring the profile back to as convex as it must be."""
        self.slopes.clamp_(min=-CONVEX / SLOPE_UNIT)

    def weights(self) -> tuple[Tensor, ...]:
        """Scales, table and kernels of a :class:`~priors._ridge_body.Ridge`, for images of noise level 1."""
        zero = self.slopes.new_zeros(1)
        # Were psi to fall anywhere, R would have no lower bound, and nothing would hold what is not measured.
        first = torch.cat((zero, (SLOPE_UNIT * self.slopes).cumsum(0).clamp_min(0)))
        slopes = torch.cat((first.diff(), zero))
        value = torch.cat((zero, (first[:-1] + 0.5 * slopes[:-1]).cumsum(0)))
        blind = [self.filters[0] - self.filters[0].mean((-2, -1), keepdim=True), *list(self.filters)[1:]]
        blind[-1] = blind[-1] * (MARGIN / gain(blind))
        return SCALE_UNIT * self.scales.exp(), torch.stack((value, first, slopes), 1), *blind

    def forward(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images ``(batch, 1, rows, columns)`` of noise levels ``(batch,)``, in the same unit."""
        level = sigma.view(-1, 1, 1, 1).clamp_min(1e-6)
        with torch.autocast(v.device.type, enabled=False):
            return level * Minimiser.apply((v / level).float(), *self.weights())


class Minimiser(torch.autograd.Function):
    """Denoised images; their derivative follows from the equation that they solve (implicit differentiation)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, *weights: Tensor) -> Tensor:
        ridge = Ridge.of(weights).half()
        x = minimised(ridge, y, 1.0, 1 + float(ridge.table[:, 2].max()), TOL, STEPS)
        ctx.save_for_backward(x, *weights)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        hessian = Ridge.of(weights).half().hessian(x)
        w = solved(lambda z: z + hessian(z), g, ADJOINT_TOL, ADJOINT_STEPS)
        return w, *(-part for part in Ridge.of(weights).pulled_back(x, w))


def gain(kernels: list[Tensor], frequencies: int = SPECTRUM) -> Tensor:
    """Norm of the convolutions one after the other on an image without borders."""
    reach = sum(k.shape[-1] - 1 for k in kernels)
    response = functional.pad(kernels[0].new_ones(1, 1, 1, 1), [reach] * 4)
    for kernel in kernels:
        response = functional.conv2d(response, kernel)
    return torch.fft.rfft2(response, s=(frequencies, frequencies)).abs().square().sum(1).max().sqrt()
