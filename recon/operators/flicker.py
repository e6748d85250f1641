"""Series of frames of unequal exposure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon.operators.affine import Affine
from recon.operators.base import Operator
from recon.operators.filters import Diagonal
from recon.operators.illumination import real_numbers
from recon.operators.unknown import Parametrised, Unknown
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import shape_argument

LAGS = (1, 2, 3)  # frames between two that are compared
DARK = 0.05  # of the brightest: below, a ratio of two frames says nothing
ROUNDS = 15  # of reweighting


class Flicker(Parametrised, Affine):
    r"""Each frame of a series has a gain and an offset of its own: ``y_k = g_k x_k + o_k``.

    Exposure that varies, lamps at the mains frequency, old film. Compose it with ``stack([Identity(shape)] * n)`` on
    the right where all frames show one scene. Where they are unknown, gains have the mean 1 and offsets the mean 0.

    Parameters
    ----------
    gain : array, shape (frames,), or Unknown
        Unknown ones follow from robust comparisons of frames up to three apart, shifted upon each other where the
        camera has moved; what moves by itself is an outlier.
    shape : tuple of int
        Shape of the series, (frames, rows, columns).
    offset : array, shape (frames,), float or Unknown
        In the unit of ``y``.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``gain`` or ``offset`` is not one finite number a frame.
    ArgumentError
        A gain is zero or negative.

    Examples
    --------
    >>> A = Flicker([1.0, 0.5], shape=(2, 1, 2), offset=[0.0, 0.1])
    >>> A(np.ones((2, 1, 2)))[:, 0, 0]
    array([1. , 0.6])
    """

    parameters = ("gain", "offset")

    def __init__(self, gain: Any, shape: Sequence[int], offset: Any = 0.0):
        shape = shape_argument("shape", shape)
        if len(shape) != 3:
            raise ShapeError(f"shape is {shape}; expected (frames, rows, columns). Pass the shape of the series.")
        self.gain, self.offset_of_frame = _each_frame("gain", gain, shape), _each_frame("offset", offset, shape)
        if not self.gain.min() > 0:
            raise ArgumentError(
                f"gain of frame {int(self.gain.argmin())} is {self.gain.min():.3g}; expected more than 0. "
                "Leave out frames without light."
            )
        super().__init__(Diagonal(_upon(self.gain, shape), shape), _upon(self.offset_of_frame, shape))

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        return np.full(arguments["shape"][0], 1.0 if name == "gain" else 0.0)

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        frames = np.moveaxis(y.reshape(-1, *arguments["shape"]), 1, 0)
        if "offset" not in names:
            frames = frames - _upon(np.broadcast_to(arguments["offset"], len(frames)), frames.shape)
        found = {}
        if "gain" in names:
            compare = _log_slope if "offset" in names else _log_ratio
            gain = np.exp(_levels(frames, compare))
            found["gain"] = gain / gain.mean()
        gain = found["gain"] if "gain" in names else np.broadcast_to(arguments["gain"], len(frames))
        if "offset" in names:
            offset = gain * _levels(frames / _upon(gain, frames.shape), lambda first, later: np.median(later - first))
            found["offset"] = offset - gain * offset.mean() / gain.mean()
        return found

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        from recon.operators.wrappers import from_callables

        shape, frames = np.shape(x), (self.in_shape[0],)
        batch = tuple(range(len(shape) - len(self.in_shape)))
        axes = (*batch, *range(len(batch) + 1, len(shape)))
        factor = np.asarray(x, dtype=float) if name == "gain" else np.ones(shape)
        rest = self.offset if name == "gain" else self.linear(np.asarray(x, dtype=float))
        return Affine(
            from_callables(lambda v: factor * _upon(v, self.in_shape), lambda r: (factor * r).sum(axes), frames, shape),
            rest,
        )

    def gauge(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], float, float]:
        a = float(self.gain.mean()) if "gain" in names else 1.0
        gain = self.gain / a
        b = float(self.offset_of_frame.mean() / gain.mean()) if "offset" in names else 0.0
        values = {"gain": gain, "offset": self.offset_of_frame - b * gain}
        return {name: values[name] for name in names}, a, b

    def __repr__(self) -> str:
        return f"Flicker({self.in_shape}, gain {self.gain.min():.3g} to {self.gain.max():.3g})"


def _each_frame(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    numbers = real_numbers(name, values)
    if numbers.shape not in ((), shape[:1]):
        raise ShapeError(f"{name} has shape {numbers.shape}; expected {shape[:1]}, one a frame. Pass as many.")
    return np.broadcast_to(numbers, shape[:1]).copy()


def _upon(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One value a frame, for a broadcast over its pixels."""
    return values.reshape(-1, *(1,) * (len(shape) - 1))


def _levels(frames: np.ndarray, compare: Callable[[np.ndarray, np.ndarray], Any]) -> np.ndarray:
    """Levels of mean 0 whose differences are nearest to what ``compare(first, later)`` finds between frames."""
    pairs = [(k, k + lag) for lag in LAGS for k in range(len(frames) - lag)]
    rows = np.zeros((len(pairs), len(frames)))
    for row, (first, later) in zip(rows, pairs, strict=True):
        row[first], row[later] = -1.0, 1.0
    steps = [float(compare(*_overlap(frames[first], frames[later]))) for first, later in pairs]
    return np.linalg.lstsq(rows, np.array(steps), rcond=None)[0]


def _overlap(first: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that both show, after a whole number of pixels by which the camera has moved (phase correlation)."""
    spectra = [np.fft.rfft2((frame - frame.mean()).reshape(-1, *frame.shape[-2:]).mean(0)) for frame in (first, later)]
    cross = spectra[1] * spectra[0].conj()
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-30), first.shape[-2:])
    places = np.unravel_index(int(peak.argmax()), peak.shape)
    shift = [int(k) if k <= n // 2 else int(k) - n for k, n in zip(places, peak.shape, strict=True)]
    if any(abs(k) > n // 4 for k, n in zip(shift, peak.shape, strict=True)):
        shift = [0, 0]  # nothing in common that a shift explains
    ahead = tuple(slice(max(k, 0), n + min(k, 0)) for k, n in zip(shift, peak.shape, strict=True))
    behind = tuple(slice(max(-k, 0), n + min(-k, 0)) for k, n in zip(shift, peak.shape, strict=True))
    return first[:, behind[0], behind[1]].reshape(-1), later[:, ahead[0], ahead[1]].reshape(-1)


def _log_ratio(first: np.ndarray, later: np.ndarray) -> float:
    """Median of the logarithm of the ratio, each pixel counting by its brightness."""
    floor = DARK * max(float(np.quantile(first, 0.99)), 1e-30)
    seen = (first > floor) & (later > floor)
    if not seen.any():
        return 0.0
    logs, weights = np.log(later[seen] / first[seen]), first[seen]
    order = np.argsort(logs)
    passed = np.cumsum(weights[order])
    return float(logs[order][np.searchsorted(passed, 0.5 * passed[-1])])


def _log_slope(first: np.ndarray, later: np.ndarray) -> float:
    """Logarithm of the gain between two frames that may also differ by an offset; noise of both is treated alike."""
    return 0.5 * (np.log(_slope(first, later)) - np.log(_slope(later, first)))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of ``y = slope x + offset``, least absolute deviations, by reweighting."""
    weights = np.ones_like(x)
    slope, scale = 1.0, 1e-3 * max(float(np.std(y)), 1e-30)
    for _ in range(ROUNDS):
        total = weights.sum()
        mean_x, mean_y = (weights * x).sum() / total, (weights * y).sum() / total
        power = max(float((weights * (x - mean_x) ** 2).sum()), 1e-300)
        slope = max(float((weights * (x - mean_x) * (y - mean_y)).sum()) / power, 1e-3)
        weights = 1.0 / np.sqrt((y - mean_y - slope * (x - mean_x)) ** 2 + scale**2)
    return slope
