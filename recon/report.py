"""Pictures of how a reconstruction went."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.errors import ReconError


def pyplot() -> Any:
    """matplotlib.pyplot, or an error that names the extra."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ReconError(
            "plotting needs matplotlib, which is not installed; install it with `pip install recon-imaging[plot]`."
        ) from None
    return plt


def plot_info(info: Any) -> Any:
    """Draw convergence (change, objective) and the predicted risk of the strengths tried.

    Returns
    -------
    matplotlib.figure.Figure
    """
    plt = pyplot()
    tried = info.choice.trials if info.choice is not None else ()
    figure, axes = plt.subplots(1, 3 if tried else 2, figsize=(4.2 * (3 if tried else 2), 3.2), layout="constrained")
    history = info.history
    axes[0].semilogy(history["iteration"], history["change"], marker=".")
    axes[0].set(xlabel="step", ylabel="change of the image a step", title=info.status.name.lower())
    objective = np.asarray(history["objective"])
    axes[1].plot(history["seconds"], objective, marker=".")
    axes[1].set(xlabel="seconds", ylabel="objective", title=f"{info.iterations} steps")
    if tried:
        trials = sorted(tried, key=lambda trial: trial.strength)
        axes[2].semilogx([t.strength for t in trials], [t.risk for t in trials], marker="o")
        axes[2].axvline(info.plan.strength, linestyle="--", color="0.5")
        axes[2].set(xlabel="strength", ylabel="predicted risk", title=info.choice.criterion)
        marks = [trials[0].strength, info.plan.strength, trials[-1].strength]
        axes[2].set_xticks(marks, [f"{mark:.2g}" for mark in marks])
        axes[2].set_xticks([], minor=True)
    return figure


def draw_pictures(pictures: dict[str, Any], across: int = 4) -> Any:
    """Draw named pictures in rows.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from solvers.arrays import to_numpy

    plt = pyplot()
    shown = {name: np.clip(to_numpy(picture), 0.0, 1.0) for name, picture in pictures.items()}
    down = -(-len(shown) // across)
    rows, columns = next(iter(shown.values())).shape[:2]
    figure, axes = plt.subplots(
        down, across, figsize=(3 * across, (3 * rows / columns + 0.3) * down), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes.flat, shown.items(), strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(name)
    return figure
