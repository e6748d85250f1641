"""Make a picture look better: classical filters and models of what went wrong, under one name each.

The classical methods are those of scikit-image and change how a picture looks. The others state a forward model with
unknown parameters (uneven light, haze, the colour of the light) and undo it by :func:`recon.reconstruct`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.validation import as_inexact, known_keywords, positive_float, require_finite

DISPLAY = 2.2  # exponent by which dark parts are lifted: what the eye makes of light
DIMMEST = 0.05  # illumination, below which there is only noise to lift
WINDOW = 1 / 15  # width of the neighbourhood that shares an illumination, over the image's longer side
FLAT = 1e-3  # variance of the picture under which an illumination is smoothed over
GREY = 1e-6  # brightness that counts as none

Bands = np.ndarray  # (bands, rows, columns), values between 0 and 1
Work = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Method:
    """One way to enhance."""

    work: Work  # (bands, **options) -> bands
    summary: str
    by_model: bool  # a forward model is inverted; otherwise a filter of scikit-image


class Comparison(dict[str, Any]):
    """Pictures by method, ``"picture"`` the one they were made of; :meth:`plot` draws them side by side."""

    def plot(self) -> Any:
        """A matplotlib figure, which needs the extra ``plot``."""
        from recon.report import draw_pictures

        return draw_pictures(self)


class Enhance:
    """Enhance a picture: ``enhance(image, "clahe")``.

    Parameters
    ----------
    image : array, shape (rows, columns) or with colours on ``channel_axis``
        Integers are taken by the range of their type; floating point values between 0 and 1 as they are, others by the
        range of the picture, which is restored afterwards.
    method : str
        One of ``enhance.methods()``.
    channel_axis : int, optional
        Axis of the colours. Curves of brightness keep the ratios of colours.
    **options
        Of the method: ``enhance.methods()`` names them.

    Returns
    -------
    array
        Floating point, between 0 and 1 for integers.

    Raises
    ------
    OptionError, ArgumentError, ShapeError
        No such method or option, a method for colours without ``channel_axis``, or an image without two axes.

    References
    ----------
    R. C. Gonzalez, R. E. Woods, "Digital Image Processing" (2018), chapter 3; K. Zuiderveld, "Contrast limited adaptive
    histogram equalization" (1994).

    Examples
    --------
    >>> from recon import enhance
    >>> picture = np.linspace(0.4, 0.6, 64 * 64).reshape(64, 64)
    >>> enhance(picture, "stretch").max().round(2), sorted(enhance.methods())[:3]
    (np.float64(1.0), ['clahe', 'dehaze', 'denoise'])
    """

    def __call__(self, image: Array, method: str = "clahe", *, channel_axis: int | None = None, **options: Any) -> Any:
        chosen = _chosen(method)
        bands, restore = _bands(image, channel_axis)
        if method in COLOURED and len(bands) < 3:
            raise ArgumentError(f"method is {method!r}, which needs colours; the image has none. Pass channel_axis.")
        work = chosen.work if chosen.by_model else known_keywords(chosen.work)
        return restore(work(bands, **options))

    def methods(self) -> dict[str, str]:
        """Name of each method, with what it does and its options."""
        return {name: method.summary for name, method in METHODS.items()}

    @known_keywords
    def compare(
        self, image: Array, methods: Sequence[str] | None = None, *, channel_axis: int | None = None
    ) -> Comparison:
        """One picture by several methods, all that take it by default.

        Returns
        -------
        Comparison
            A dict of pictures; its ``plot()`` draws them.
        """
        if methods is None:
            methods = [name for name in METHODS if channel_axis is not None or name not in COLOURED]
        found = {name: self(image, name, channel_axis=channel_axis) for name in methods}
        bands, restore = _bands(image, channel_axis)
        return Comparison(picture=restore(bands), **found)

    def __repr__(self) -> str:
        return f"enhance(image, method): {', '.join(METHODS)}"


def _chosen(method: str) -> Method:
    if method not in METHODS:
        raise OptionError(
            f"method is {method!r}; expected one of {', '.join(map(repr, METHODS))}."
            f"{suggestion(str(method), tuple(METHODS))} Pass one of them."
        )
    return METHODS[method]


def _bands(image: Array, channel_axis: int | None) -> tuple[Bands, Callable[[np.ndarray], Any]]:
    """Bands in front, between 0 and 1, and the way back."""
    integer = np.asarray(arrays.to_numpy(image)).dtype
    pixels = as_inexact("image", image)
    require_finite("image", pixels)
    values = np.asarray(arrays.to_numpy(pixels))
    if np.iscomplexobj(values):
        raise DTypeError(f"image has dtype {values.dtype}; expected real values. Pass its magnitude.")
    if values.ndim != (2 if channel_axis is None else 3):
        raise ShapeError(
            f"image has shape {values.shape} and channel_axis is {channel_axis}; expected (rows, columns), or colours "
            "on channel_axis. Pass one picture, and channel_axis=-1 where its colours are last."
        )
    if integer.kind in "ui":
        low, high = 0.0, float(np.iinfo(integer).max)
    elif values.min() >= 0 and values.max() <= 1:
        low, high = 0.0, 1.0
    else:
        low, high = float(values.min()), float(values.max())
    scale = (high - low) or 1.0
    in_front = values[None] if channel_axis is None else np.moveaxis(values, channel_axis, 0)

    def restore(bands: np.ndarray) -> Any:
        picture = np.clip(bands, 0.0, 1.0)
        if integer.kind not in "ui":
            picture = low + scale * picture
        picture = picture[0] if channel_axis is None else np.moveaxis(picture, 0, channel_axis)
        return arrays.to_device_of(np.ascontiguousarray(picture.astype(values.dtype)), pixels)

    return ((in_front - low) / scale).astype(values.dtype, copy=False), restore


# --- filters of scikit-image ------------------------------------------------------------------------------------------


def _on_brightness(bands: Bands, curve: Callable[[np.ndarray], np.ndarray]) -> Bands:
    """A curve of the brightness; colours keep their ratios."""
    brightness = bands.mean(0)
    return bands * (curve(brightness) / np.maximum(brightness, GREY))


def _equalise(bands: Bands, bins: int = 256) -> Bands:
    from skimage.exposure import equalize_hist

    return _on_brightness(bands, lambda b: equalize_hist(b, nbins=bins))


def _clahe(bands: Bands, clip: float = 0.01, window: Any = None) -> Bands:
    from skimage.exposure import equalize_adapthist

    return _on_brightness(
        bands, lambda b: equalize_adapthist(np.clip(b, 0, 1), kernel_size=window, clip_limit=clip).astype(b.dtype)
    )


def _gamma(bands: Bands, gamma: float = 1 / DISPLAY) -> Bands:
    from skimage.exposure import adjust_gamma

    return np.asarray(adjust_gamma(np.clip(bands, 0, 1), positive_float("gamma", gamma)))


def _sigmoid(bands: Bands, cutoff: float = 0.5, contrast: float = 6.0) -> Bands:
    from skimage.exposure import adjust_sigmoid

    return _on_brightness(bands, lambda b: adjust_sigmoid(np.clip(b, 0, 1), cutoff=cutoff, gain=contrast))


def _stretch(bands: Bands, percent: float = 0.5) -> Bands:
    low, high = np.percentile(bands, (percent, 100 - percent))
    return np.asarray((bands - low) / ((high - low) or 1.0))


def _unsharp(bands: Bands, radius: float = 2.0, amount: float = 1.0) -> Bands:
    from skimage.filters import unsharp_mask

    return np.asarray(unsharp_mask(bands, radius=radius, amount=amount, channel_axis=0))


# --- forward models, inverted -----------------------------------------------------------------------------------------


def _by(operator: Any, bands: Bands, **options: Any) -> Bands:
    from recon.reconstruct import reconstruct

    channels = None if operator.out_shape == bands.shape else 0
    return np.asarray(reconstruct(bands, operator, channel_axis=channels, **options))


def _denoise(bands: Bands, **options: Any) -> Bands:
    from recon.operators import Identity

    return _by(Identity(bands.shape[1:]), bands, **options)


def _vignetting(bands: Bands, **options: Any) -> Bands:
    from recon.operators import Unknown, Vignetting

    return _by(Vignetting(Unknown(), bands.shape[1:]), bands, **options)


def _illumination(bands: Bands, grid: tuple[int, int] = (3, 4), **options: Any) -> Bands:
    from recon.operators import Illumination, Unknown

    return _by(Illumination(Unknown(shape=grid), bands.shape[1:]), bands, **options)


def _low_light(bands: Bands, gamma: float = DISPLAY, **options: Any) -> Bands:
    """Retinex: the illumination of a pixel is that of the brightest colour around it, and is seen as the eye sees."""
    from scipy.ndimage import maximum_filter

    from recon.operators import Illumination
    from recon.operators.haze import guided_filter

    bright = bands.max(0).astype(float)
    radius = max(1, round(0.5 * WINDOW * max(bright.shape)))
    light = guided_filter(maximum_filter(bright, size=3, mode="nearest"), bright, radius, FLAT)
    light = np.clip(light, DIMMEST, 1.0)
    return _by(Illumination(light ** (1 - 1 / positive_float("gamma", gamma)), bands.shape[1:]), bands, **options)


def _white_balance(bands: Bands, **options: Any) -> Bands:
    from recon.operators import ColourMixing, Unknown

    return _by(ColourMixing(Unknown(shape=bands.shape[:1]), bands.shape[1:]), bands, **options)


def _dehaze(bands: Bands, **options: Any) -> Bands:
    from recon.operators import Haze, Unknown

    return _by(Haze(Unknown(), Unknown(), bands.shape), bands, **options)


RECONSTRUCT = "options of reconstruct"
METHODS: dict[str, Method] = {
    "equalise": Method(_equalise, "equal numbers of pixels for every brightness: bins", False),
    "clahe": Method(_clahe, "the same in windows, with limited contrast: clip, window", False),
    "gamma": Method(_gamma, "power of the values, below 1 lifts the dark: gamma", False),
    "sigmoid": Method(_sigmoid, "contrast around the middle: cutoff, contrast", False),
    "stretch": Method(_stretch, "darkest to black, brightest to white, but for outliers: percent", False),
    "unsharp": Method(_unsharp, "difference from a blurred copy added: radius, amount", False),
    "denoise": Method(_denoise, f"noise removed, nothing else changed: {RECONSTRUCT}", True),
    "vignetting": Method(_vignetting, f"dark corners of a lens: {RECONSTRUCT}", True),
    "illumination": Method(_illumination, f"uneven light, smooth over the picture: grid, {RECONSTRUCT}", True),
    "low-light": Method(_low_light, f"Retinex, the dark lifted and its noise held down: gamma, {RECONSTRUCT}", True),
    "white-balance": Method(_white_balance, f"colour of the light: {RECONSTRUCT}", True),
    "dehaze": Method(_dehaze, f"atmospheric haze: {RECONSTRUCT}", True),
}
COLOURED = ("white-balance", "dehaze")

enhance = Enhance()
