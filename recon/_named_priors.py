"""Priors that :func:`recon.reconstruct` knows by name."""

from __future__ import annotations

import math
from typing import Any

from solvers import arrays
from solvers.arrays import Array

NAMES = (
    "auto", "tv", "tgv", "huber-tv", "wavelet", "undecimated-wavelet", "tikhonov", "sobolev", "laplacian", "entropy",
    "none",
)  # fmt: skip
SLOPE = 0.05  # difference of neighbours, over the standard deviation of the image, up to which Huber sees a slope


def named_prior(name: str, y: Array, operator: Any, channels: bool) -> tuple[Any, str]:
    """The prior of this name for the images of an operator, and what to call it.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    y : array
        The measurement, from which priors with a scale take it.
    operator : LinearOperator
        Forward operator.
    channels : bool
        Whether there is an axis of channels before those that the operator takes.
    """
    import priors

    bands = bool(getattr(operator, "channels", False))
    ndim = min(len(operator.in_shape) - bands, 3)
    axis = -ndim - 1 if channels or bands else None
    coupled = f"{ndim}-D" + (", channels coupled" if channels or bands else "")
    if name == "none":
        return priors.Zero(), "none"
    if name == "tikhonov":
        return priors.Tikhonov(), "Tikhonov"
    if name == "wavelet":
        return priors.Wavelet(ndim=ndim), f"wavelet sparsity, {ndim}-D"
    if name == "undecimated-wavelet":
        return priors.UndecimatedWavelet(ndim=ndim), f"undecimated wavelet sparsity, {ndim}-D"
    if name == "sobolev":
        return priors.Sobolev(1.0, ndim), f"squared gradient, {ndim}-D"
    if name == "laplacian":
        return priors.Laplacian(ndim), f"squared Laplacian, {ndim}-D"
    if name == "tgv":
        return priors.TGV(ndim=ndim, channel_axis=axis), f"total generalised variation, {coupled}"
    if name in ("huber-tv", "entropy"):
        mean, spread = _grey_values(y, operator)
        if name == "entropy":
            return priors.Entropy(mean), f"entropy, level {mean:.3g}"
        delta = SLOPE * spread
        return priors.HuberTV(delta, ndim, channel_axis=axis), f"Huber total variation, delta {delta:.3g}, {coupled}"
    return priors.TotalVariation(ndim=ndim, channel_axis=axis), f"total variation, {coupled}"


def _grey_values(y: Array, operator: Any) -> tuple[float, float]:
    """Mean modulus and standard deviation of a first guess of the image, 1 where they vanish."""
    from recon.reconstruct import first_guess

    x = first_guess(operator, y)
    mean = arrays.to_float(abs(x).mean())
    spread = arrays.to_float(arrays.norm(x - x.mean())) / math.sqrt(arrays.size(x))
    return mean or 1.0, spread or 1.0
