"""Atmospheric scattering: the farther away, the paler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.affine import Affine
from recon.operators.base import Operator
from recon.operators.filters import Diagonal
from recon.operators.illumination import real_numbers
from recon.operators.unknown import Parametrised, Unknown
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import shape_argument

PATCH = 1 / 30  # side of the patches whose darkest value counts, of the image's
KEPT = 0.95  # of the haze that is taken for haze: some is left, to look far away
BRIGHTEST = 1e-3  # share of the haziest pixels, which show the light of the air itself
LEAST = 0.1  # transmission, below which noise is all there is
GUIDE = 1e-3  # variance of the guide, over its squared range, below which the map is smoothed over


class Haze(Parametrised, Affine):
    """Light of the scene is dimmed on its way, and the air adds its own: ``y = t x + a (1 - t)``.

    Parameters
    ----------
    transmission : array, shape (rows, columns), float or Unknown
        ``t = exp(-scattering * depth)``, between 0 and 1. An unknown one follows from the dark channel: in clear air
        nearly every patch holds something dark in some colour, so what is bright there is haze; a guided filter
        aligns the map with the picture.
    airlight : array, shape (bands,), float or Unknown
        ``a``, the colour of the air where nothing shines through. An unknown one is that of the haziest pixels.
    shape : tuple of int
        Shape of the image, (bands, rows, columns).

    Raises
    ------
    ArgumentError
        ``transmission`` is not between 0 and 1.
    ShapeError, DTypeError, NonFiniteError
        An argument is not an array of finite numbers of that shape.

    References
    ----------
    K. He, J. Sun, X. Tang, "Single image haze removal using dark channel prior", IEEE TPAMI 33 (2011); "Guided image
    filtering", IEEE TPAMI 35 (2013).

    Examples
    --------
    >>> A = Haze(0.5, [0.8, 0.8, 1.0], shape=(3, 4, 4))
    >>> A(np.zeros((3, 4, 4)))[:, 0, 0]
    array([0.4, 0.4, 0.5])
    """

    parameters = ("transmission", "airlight")

    def __init__(self, transmission: Any, airlight: Any, shape: Sequence[int]):
        shape = shape_argument("shape", shape)
        if len(shape) != 3:
            raise ShapeError(f"shape is {shape}; expected (bands, rows, columns). Pass (1, rows, columns) for grey.")
        self.transmission = _fits("transmission", transmission, shape[1:])
        self.airlight = _fits("airlight", airlight, shape[:1])
        if not (self.transmission.min() > 0 and self.transmission.max() <= 1):
            raise ArgumentError(
                f"transmission is {self.transmission.min():.3g} to {self.transmission.max():.3g}; expected more than 0 "
                "and at most 1. Clip it: nothing can be seen through air that lets nothing through."
            )
        air = self.airlight[:, None, None] * (1 - self.transmission)
        dimmed = Diagonal(self.transmission, shape)
        dimmed.channels = True
        super().__init__(dimmed, air)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        bands, *plane = arguments["shape"]
        return np.ones(plane if name == "transmission" else bands)

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        picture = y.reshape(-1, *arguments["shape"]).mean(0)
        found = {}
        if "airlight" in names:
            found["airlight"] = _airlight(picture)
        air = np.broadcast_to(found["airlight"] if "airlight" in names else arguments["airlight"], len(picture))
        if "transmission" in names:
            found["transmission"] = _transmission(picture, np.maximum(air, 1e-6))
        return found

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        from recon.operators.wrappers import from_callables

        image, t, a = np.asarray(x, dtype=float), self.transmission, self.airlight[:, None, None]
        batch = tuple(range(image.ndim - 3))
        if name == "airlight":
            return Affine(
                from_callables(
                    lambda v: np.broadcast_to(v[:, None, None] * (1 - t), image.shape),
                    lambda r: (r * (1 - t)).sum((*batch, -2, -1)),
                    self.airlight.shape,
                    image.shape,
                ),
                t * image,
            )
        return Affine(
            from_callables(
                lambda v: v * (image - a), lambda r: ((image - a) * r).sum((*batch, -3)), t.shape, image.shape
            ),
            np.broadcast_to(a, image.shape),
        )

    def __repr__(self) -> str:
        low, high = self.transmission.min(), self.transmission.max()
        return f"Haze({self.in_shape}, transmission {low:.2g} to {high:.2g})"


def _fits(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    numbers = real_numbers(name, values)
    if numbers.shape not in ((), shape):
        raise ShapeError(f"{name} has shape {numbers.shape}; expected {shape} or one number. Pass such an array.")
    return np.broadcast_to(numbers, shape).copy()


def _dark_channel(picture: np.ndarray) -> np.ndarray:
    """The darkest value in any colour, in a patch around each pixel."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(picture.min(0), size=_patch(picture), mode="nearest"))


def _patch(picture: np.ndarray) -> int:
    return 2 * max(1, round(0.5 * PATCH * max(picture.shape))) + 1


def _airlight(picture: np.ndarray) -> np.ndarray:
    dark = _dark_channel(picture).reshape(-1)
    haziest = np.argsort(dark)[-max(1, int(BRIGHTEST * dark.size)) :]
    return np.asarray(picture.reshape(len(picture), -1)[:, haziest].mean(1))


def _transmission(picture: np.ndarray, airlight: np.ndarray) -> np.ndarray:
    rough = 1 - KEPT * _dark_channel(picture / airlight[:, None, None])
    guide = picture.mean(0)
    return np.clip(guided_filter(rough, guide, 2 * _patch(picture), GUIDE * float(np.ptp(guide)) ** 2), LEAST, 1.0)


def guided_filter(field: np.ndarray, guide: np.ndarray, radius: int, variance: float) -> np.ndarray:
    """A smooth version of ``field`` that has its edges where the guide has them.

    In each window it is the linear function of the guide nearest to the field; where the guide varies by less than
    ``variance``, its mean.
    """
    from scipy.ndimage import uniform_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(uniform_filter(values, size=2 * radius + 1, mode="nearest"))

    mean_guide, mean_field = mean(guide), mean(field)
    slope = (mean(guide * field) - mean_guide * mean_field) / (mean(guide**2) - mean_guide**2 + max(variance, 1e-30))
    return mean(slope) * guide + mean(mean_field - slope * mean_guide)
