"""What a good image looks like: proximal maps, constraints and learned denoisers.

Names are loaded on first use, so that importing the package loads neither numba nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from priors.base import Prior
    from priors.constraints import Box, NonNegative
    from priors.differences import Gradient
    from priors.quadratic import Tikhonov, Zero
    from priors.total_variation import TotalVariation
    from priors.wavelet import Wavelet

_HOME = {
    "Box": "priors.constraints",
    "Gradient": "priors.differences",
    "NonNegative": "priors.constraints",
    "Prior": "priors.base",
    "Tikhonov": "priors.quadratic",
    "TotalVariation": "priors.total_variation",
    "Wavelet": "priors.wavelet",
    "Zero": "priors.quadratic",
}

__all__ = ["Box", "Gradient", "NonNegative", "Prior", "Tikhonov", "TotalVariation", "Wavelet", "Zero"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
