"""Priors that :func:`recon.reconstruct` knows by name."""

from __future__ import annotations

import math
from typing import Any

from recon._pace import pace
from recon._regulariser import named_red, named_ridge
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OptionError

NAMES = (
    "auto", "tv", "tgv", "huber-tv", "wavelet", "undecimated-wavelet", "tikhonov", "sobolev", "laplacian", "entropy",
    "low-rank", "locally-low-rank", "learned", "red", "ridge", "none",
)  # fmt: skip
SLOPE = 0.05  # difference of neighbours, over the standard deviation of the image, up to which Huber sees a slope


def named_prior(name: str, y: Array, operator: Any, channels: bool, noise: Any) -> tuple[Any, str]:
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
    noise : noise model
        Of the measurement, from which learned regularisers take their level.
    """
    import priors

    bands, frames = (bool(getattr(operator, name, False)) for name in ("channels", "frames"))
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
    if name == "entropy":
        mean, _ = _grey_values(y, operator)
        return priors.Entropy(mean), f"entropy, level {mean:.3g}"
    if name in ("low-rank", "locally-low-rank"):
        return _low_rank(name, operator, channels)
    if name in ("learned", "red"):
        found, title = _learned(name, operator, bands or channels)
        return (found, title) if name == "learned" else named_red(found.denoiser, title, y, operator, noise)
    if name == "ridge":
        return named_ridge(y, operator, noise)
    spacing = None
    if frames and ndim == len(operator.in_shape):
        spacing = (pace(y, operator), *(1.0,) * (ndim - 1))
        coupled = f"{ndim - 1}-D and time, frames {spacing[0]:.2g} pixels apart" + coupled.removeprefix(f"{ndim}-D")
    return _of_differences(name, y, operator, {"ndim": ndim, "spacing": spacing}, axis, coupled)


def _learned(name: str, operator: Any, channels: bool) -> tuple[Any, str]:
    """The denoiser that comes with the library; on volumes in all three directions, on series frame by frame."""
    from priors import AllPlanes, Denoiser, PlugAndPlay

    if len(operator.in_shape) < 2:
        raise OptionError(
            f"prior is {name!r}, which knows images; {operator!r} gives signals of shape {operator.in_shape}. "
            "Pass prior='tv' or 'wavelet'."
        )
    if len(operator.in_shape) - bool(operator.channels) == 3 and not operator.frames and not channels:
        return PlugAndPlay(AllPlanes(Denoiser())), "learned denoiser, planes of three directions"
    return PlugAndPlay(Denoiser(channels=channels)), "learned denoiser" + (", bands together" if channels else "")


def _of_differences(
    name: str, y: Array, operator: Any, grid: dict[str, Any], axis: int | None, coupled: str
) -> tuple[Any, str]:
    """Priors of differences of neighbours on a grid, in space or in space and time."""
    import priors

    if name == "sobolev":
        return priors.Sobolev(1.0, **grid), f"squared gradient, {coupled}"
    if name == "laplacian":
        return priors.Laplacian(**grid), f"squared Laplacian, {coupled}"
    if name == "tgv":
        return priors.TGV(**grid, channel_axis=axis), f"total generalised variation, {coupled}"
    if name == "huber-tv":
        delta = SLOPE * _grey_values(y, operator)[1]
        return priors.HuberTV(delta, **grid, channel_axis=axis), f"Huber total variation, delta {delta:.3g}, {coupled}"
    return priors.TotalVariation(**grid, channel_axis=axis), f"total variation, {coupled}"


def _low_rank(name: str, operator: Any, channels: bool) -> tuple[Any, str]:
    """Low rank of a series along its first axis: frames or bands."""
    import priors

    axis = -len(operator.in_shape) - (channels and not getattr(operator, "frames", False))
    if axis > -2 or (name == "locally-low-rank" and axis != -3):
        raise OptionError(
            f"prior is {name!r}; {operator!r} gives images of shape {operator.in_shape}, which are no series of "
            "pictures. Use it for (frames, rows, columns), or pass priors.LocallyLowRank(block, axis)."
        )
    if name == "low-rank":
        return priors.NuclearNorm(axis), "low rank of the series"
    return priors.LocallyLowRank(axis=axis), "low rank of the series in blocks of 8 x 8 pixels"


def _grey_values(y: Array, operator: Any) -> tuple[float, float]:
    """Mean modulus and standard deviation of a first guess of the image, 1 where they vanish."""
    from recon._first_guess import first_guess

    x = first_guess(operator, y)
    mean = arrays.to_float(abs(x).mean())
    spread = arrays.to_float(arrays.norm(x - x.mean())) / math.sqrt(arrays.size(x))
    return mean or 1.0, spread or 1.0
