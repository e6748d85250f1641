"""What filtered back-projections share: their arguments and errors, and views that reach the corners of the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon._ramp import WINDOWS
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, suggestion


def admitted(y: Array, operator: Any, window: str, name: str) -> np.ndarray:
    """The measurement of ``operator`` as an ndarray, for the method ``name``; or say what is wrong with it."""
    if window not in WINDOWS:
        raise OptionError(f"window is {window!r}; expected one of {', '.join(WINDOWS)}.{suggestion(window, WINDOWS)}")
    y = operator._admit(y, "y", operator.out_shape)
    if arrays.is_torch(y) and y.device.type != "cpu":
        raise ArgumentError(f"y is on {y.device}; {name} computes on the CPU. Pass y.cpu() and move the result back.")
    if arrays.is_torch(y) and y.requires_grad:
        raise DTypeError(
            f"y requires gradients; {name} has none. Pass y.detach(), or train through operator.adjoint(y)."
        )
    return arrays.to_numpy(y)


def covering(y: np.ndarray, operator: Any, low: float, high: float) -> tuple[np.ndarray, Any]:
    """Extend views by zeros until the detector sees the corners of the image, which the filtered views reach.

    The corners are ``low`` and ``high`` cells from the centre. From a source near the image they may be very far.
    """
    left = min(max(0, math.ceil(-low - operator.center)), 2 * operator.detectors)
    right = min(max(0, math.ceil(high - (operator.detectors - 1 - operator.center))), 2 * operator.detectors)
    if not left + right:
        return y, operator
    wide = operator.widened(left, right)
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(left, right)]), wide
