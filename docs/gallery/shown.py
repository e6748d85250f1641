"""What a family shows: four pictures in a row, and the code that made them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

PANEL = 2.2  # inches
DPI = 100
COLOURS = 128  # of the palette
STEP = 5  # of 255, between the greys
TINT = 12  # largest difference of the channels, of 255, of a grey picture
View = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One family, measured and reconstructed."""

    truth: np.ndarray
    y: np.ndarray
    operator: Any
    x: np.ndarray
    view: View  # from an image to what is drawn and compared, 2-D or with colours last
    measured: View  # the same for the measurement
    how: str  # what made x
    window: tuple[float, float] | None  # values that are black and white; None is the range of the truth
    third: tuple[str, np.ndarray] | None  # title and image of the third picture; None is the adjoint image

    @property
    def psnr(self) -> float:
        """Of the reconstruction, over the range of the truth."""
        truth, x = self.view(self.truth).astype(float), self.view(self.x)
        return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((x - truth) ** 2)))


def row(
    truth: Any,
    y: Any,
    operator: Any,
    x: Any,
    *,
    view: Any = None,
    measured: Any = None,
    window: Any = None,
    how: str = "reconstruct(y, A)",
    third: Any = None,
) -> Row:
    """The pictures of a family; ``view`` and ``measured`` say how an image and a measurement are drawn."""
    return Row(truth, y, operator, x, view or plain, measured or view or plain, how, window, third)


def plain(image: np.ndarray) -> np.ndarray:
    """Magnitude of a 2-D image; three bands are colours; lists and stacks are folded to two axes."""
    image = np.abs(image) if np.iscomplexobj(image) else np.asarray(image)
    if image.ndim == 1:
        side = int(image.size**0.5)
        return image[: side * side].reshape(side, side)
    if image.ndim == 3:
        return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image.reshape(-1, image.shape[-1])
    return image


def log_magnitude(k: np.ndarray) -> np.ndarray:
    """k-space over five decades."""
    magnitude = np.abs(k if k.ndim == 2 else k[0])
    return np.log10(np.maximum(magnitude / magnitude.max(), 1e-5))


def coverage(trajectory: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where a trajectory passes through k-space."""
    edges = [np.arange(n + 1) - n / 2 for n in shape]
    return np.histogram2d(*trajectory.reshape(-1, 2).T, bins=edges)[0].clip(0, 1)


def source(family: Callable[[], Row]) -> str:
    """The lines of a family between its docstring and its ``return``."""
    lines = inspect.getsource(family).splitlines()
    first = next(i for i, line in enumerate(lines) if line.rstrip().endswith('"""')) + 1
    last = max(i for i, line in enumerate(lines) if line.lstrip().startswith("return "))
    return textwrap.dedent("\n".join(lines[first:last]))


def draw(result: Row) -> bytes:
    """A PNG of truth, measurement, adjoint image (or what stands in for it) and reconstruction."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    truth, x = result.view(result.truth), result.view(result.x)
    title, back = result.third or ("adjoint $A^H y$", result.operator.adjoint(result.y))
    window = result.window or _stretched(truth)[1]
    panels = [
        ("truth", truth, window),
        ("measurement y", *_stretched(result.measured(result.y))),
        (title, *_stretched(result.view(back))),
        (f"{result.how}: {result.psnr:.1f} dB", x, window),
    ]
    aspect = truth.shape[0] / truth.shape[1]
    figure = Figure(figsize=(4 * PANEL, PANEL * aspect + 0.3), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    for axes, (title, image, (low, high)) in zip(figure.subplots(1, 4), panels, strict=True):
        axes.imshow(_between(image, low, high), cmap="gray", vmin=0, vmax=1, aspect=_aspect(image, aspect))
        axes.set_box_aspect(aspect)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return _png(figure)


def _aspect(image: np.ndarray, box: float) -> str:
    """Square pixels where the picture nearly fits the box; a sinogram is stretched to fill it."""
    return "equal" if 0.8 < image.shape[0] / image.shape[1] / box < 1.25 else "auto"


def _stretched(image: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    low, high = np.percentile(image, (0.3, 99.7))
    return image, (float(low), float(high) if high > low else float(low) + 1)


def _between(image: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((image - low) / (high - low), 0, 1)


def _png(figure: Any) -> bytes:
    """The figure in few colours, or in greys at equal distances, which draw no contours: a fifth of the size."""
    from PIL import Image

    raw, out = BytesIO(), BytesIO()
    figure.savefig(raw, format="png")
    picture = Image.open(raw).convert("RGB")
    grey = int(np.ptp(np.asarray(picture).astype(int), axis=-1).max()) <= TINT
    few = picture.convert("L").point(lambda level: STEP * round(level / STEP)) if grey else picture.quantize(COLOURS)
    few.save(out, format="png", optimize=True)
    return out.getvalue()
