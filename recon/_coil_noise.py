"""Coils whose noise differs or is correlated: they are mixed until it is alike, and the sensitivities with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._noise_level import complex_level, estimate_sigma
from recon.noise import Gaussian, Working
from recon.operators._combinations import Product
from solvers import arrays
from solvers.arrays import Array

UNLIKE = 2.0  # ratio of levels from which coils are weighted; without noise the rest of the image sets them apart


def weighted_coils(y: Array, operator: Any) -> tuple[Working, np.ndarray] | None:
    """The problem with the noise of all coils alike, and their levels; None where it is nearly so already.

    Parameters
    ----------
    y : array
        k-space, ``(..., *operator.out_shape)``.
    operator : LinearOperator
        What measured it.
    """
    scanner = scanner_of(operator)
    if scanner is None:
        return None
    levels = coil_levels(y, scanner)
    if not levels.min() > 0 or levels.max() < UNLIKE * levels.min():
        return None
    # Scaled so that weights are 1 where all levels are.
    relative = levels / levels.mean()
    weights = 1.0 / (relative * np.sqrt(np.mean(relative**-2.0)))
    whitened, mixed = mixed_coils(y, operator, np.diag(weights))
    level = estimate_sigma(whitened, mixed)
    reason = ("least squares, weighted", "each coil by the inverse of its variance")
    return Working(whitened, mixed, Gaussian(level), False, reason), level / weights


def scanner_of(operator: Any) -> Any:
    """The scanner of several coils that measured, whatever came before it; None where there is none."""
    while isinstance(operator, Product):
        operator = operator.parts[0]
    has_coils = hasattr(operator, "with_coils") and operator.coils is not None
    return operator if has_coils else None


def coil_axis(scanner: Any) -> int:
    """Negative axis of the coils in what a scanner measures: after the frames, if there are any."""
    return -len(scanner.out_shape) + int(scanner.frames)


def coil_levels(y: Array, scanner: Any) -> np.ndarray:
    """Standard deviation of the noise of each coil, from where there is next to no signal."""
    values, axis = arrays.to_numpy(y), coil_axis(scanner)
    kept = np.ones(values.shape, bool) if scanner.sampling is None else np.broadcast_to(scanner.sampling, values.shape)
    coils = zip(np.moveaxis(values, axis, 0), np.moveaxis(kept, axis, 0), strict=True)
    return np.array([complex_level(value, sampled) for value, sampled in coils])


def mixed_coils(y: Array, operator: Any, mixing: np.ndarray) -> tuple[Array, Any]:
    """``W y`` over the coils, and the operator that measures it."""
    axis, xp = coil_axis(scanner_of(operator)), arrays.namespace(y)
    y = xp.moveaxis(xp.moveaxis(y, axis, -1) @ arrays.asarray(mixing.T.astype(complex), y), -1, axis)
    return y, _with_mixed(operator, mixing)


def _with_mixed(operator: Any, mixing: np.ndarray) -> Any:
    if isinstance(operator, Product):
        outer, inner = operator.parts
        return _with_mixed(outer, mixing) @ inner
    return operator.with_coils(np.tensordot(mixing, operator.coils, 1))
