"""Which priors a reconstruction chooses from, where none was named."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from recon._nonlinear import is_nonlinear
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array

USUAL = ("tv", "learned")
FEWEST = 10_000  # pixels: the predicted risks of fewer differ by chance as much as by the prior
NARROWEST = 64  # side of an image in which a denoiser sees more than borders
MOST = 2**22  # numbers of an image, beyond which a denoiser on a CPU takes minutes


def usual_priors(operator: Any, y: Array, noise: Any, *, start: Any, solver: Any, strength: Any) -> tuple[Any, str]:
    """The priors to choose from by their predicted risks, or total variation alone and why that is so."""
    reason = _against(operator, y, noise)
    given = {"a solver": solver, "a strength": strength}
    for name, value in given.items():
        if not (isinstance(value, str) and value == "auto"):
            reason = reason or f"{name} is given"
    if start is not None:
        reason = reason or "a start is given"
    return ("auto", reason) if reason else (list(USUAL), "")


def _against(operator: Any, y: Array, noise: Any) -> str:
    """Why a learned denoiser is no candidate; empty where it is one."""
    if find_spec("torch") is None:
        return "torch is not installed"
    if is_nonlinear(operator):
        return "the operator is not linear"
    if isinstance(noise, Poisson) and tuple(y.shape) != tuple(operator.out_shape):
        return "counts of several images"
    if operator.frames or len(operator.in_shape) != 2 + bool(operator.channels):
        return "the images are not plane"
    pixels = math.prod(operator.in_shape[-2:])
    if pixels < FEWEST or min(operator.in_shape[-2:]) < NARROWEST:
        return "a small image"
    batch = arrays.size(y) // max(math.prod(operator.out_shape), 1)
    if batch * math.prod(operator.in_shape) > MOST:
        return "a large image"
    return "gradients are asked for" if getattr(y, "requires_grad", False) else ""
