"""The picture of the demo: a row for each scene."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from recon._demo_scene import Answer, Panel, Result

COLUMN = 4.0  # inches
TITLE = 0.35


def draw(results: Sequence[Result], path: Path, *, dpi: int = 110) -> None:
    """Draw truth, measurement, baseline and reconstruction of each result, and write them to ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from recon import files

    heights = [COLUMN * _aspect(result) + TITLE for result in results]
    figure = Figure(figsize=(4 * COLUMN + TITLE, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(results), 4, squeeze=False, height_ratios=heights)
    for row, result in zip(grid, results, strict=True):
        row[0].set_ylabel(result.scene.name, fontsize=12)
        for axes, panel in zip(row, panels(result), strict=True):
            low, high = panel.window
            # A measurement need not have the proportions of the image: it fills its cell.
            axes.imshow(panel.picture, cmap="gray", vmin=low, vmax=high, aspect="auto")
            axes.set_box_aspect(_aspect(result))
            axes.set_title(panel.title, fontsize=11)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    with files.replacing(os.fspath(path)) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")


def panels(result: Result) -> tuple[Panel, Panel, Panel, Panel]:
    """The four pictures of a row."""
    scene = result.scene
    classical = Panel(_title(scene.baseline_name, result.classical), result.classical.picture, scene.window)
    ours = Panel(_title("reconstruct(y, A)", result.ours), result.ours.picture, scene.window)
    return *scene.beside, classical, ours


def _title(name: str, answer: Answer) -> str:
    return name if answer.psnr is None else f"{name}: {answer.psnr:.1f} dB, SSIM {answer.ssim:.3f}"


def _aspect(result: Result) -> float:
    rows, columns = result.ours.picture.shape[:2]
    return rows / columns
