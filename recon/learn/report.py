"""What a training leaves beside the weights: a model card and the validation curve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from recon.learn.checkpoint import Progress
from recon.learn.images import Source
from recon.learn.settings import Settings
from solvers.arrays import threads

CLASSES = {"unet": "Denoiser", "ridge": "RidgeRegulariser"}
RECORDED = ("command", "minutes", "steps", "machine")
LICENCE = "BSD-3-Clause for the weights; the images they were trained on keep their own terms."


def facts(
    settings: Settings, state: Progress, data: Sequence[Source], start: str | None, device: torch.device, minutes: float
) -> dict[str, Any]:
    """How a network was made, as plain data without paths of the machine."""
    return {
        "command": _command(folders(data), start, minutes),
        "data": folders(data),
        "minutes": round(state.seconds / 60, 1),
        "steps": state.steps,
        "machine": machine(device),
        "settings": asdict(settings),
        "started from": start and Path(start).stem,
        "validation": state.history[-1]["psnr"] if state.history else {},
        "licence": LICENCE,
    }


def trainings(card: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The trainings that a card records, the first one first."""
    if card is None or not all(name in card for name in RECORDED):
        return []
    return [*card.get("before", []), {name: card[name] for name in RECORDED}]


def card(name: str, made: dict[str, Any]) -> str:
    """The model card, in Markdown."""
    settings = "\n".join(f"{key} = {toml(value)}" for key, value in made["settings"].items() if value is not None)
    rows = "\n".join(
        f"| {source} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
        for source, values in made["validation"].items()
    )
    runs = "\n".join(
        f"- **Trained** by `{run['command']}`: {run['minutes']:g} minutes, {run['steps']} steps, on {run['machine']}"
        for run in trainings(made)
    )
    return f"""# {name}

A denoiser for white Gaussian noise of known level; see `priors.{CLASSES[made["settings"]["kind"]]}`.

{runs}
- **Data** (folder:weight): {", ".join(made["data"])}
- **Licence** {made["licence"]}
- **Limits** What it knows are photographs and slices like those it was trained on. It can invent texture that the
  measurement does not hold; do not measure anything on an image that only a denoiser shows.

PSNR in dB on images of those folders that were held out, at noise levels of 15, 25 and 50 of 255:

| folder | 15 | 25 | 50 |
| --- | --- | --- | --- |
{rows}

Settings:

```toml
{settings}
```
"""


def plot(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the validation against the minutes; nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    if not history:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    minutes = [entry["minutes"] for entry in history]
    for source in history[-1]["psnr"]:
        # The mean over the noise levels: one line a source is readable.
        axes.plot(minutes, [sum(e["psnr"].get(source, [math.nan])) / 3 for e in history], label=source)
    axes.set(xlabel="training time in minutes", ylabel="PSNR in dB, mean over noise 15, 25, 50 of 255")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def folders(data: Sequence[Source]) -> list[str]:
    """Folders and how often they were drawn from, without the paths of the machine."""
    return [f"{'/'.join(source.folder.parts[-2:])}:{source.weight:g}" for source in data]


def _command(data: Sequence[str], start: str | None, minutes: float) -> str:
    words = ["recon train", *(f"--data {folder}" for folder in data), f"--minutes {minutes:g}"]
    return " ".join([*words, *([f"--from {Path(start).stem}"] if start else []), "--config settings.toml"])


def machine(device: torch.device) -> str:
    """What trained, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = threads()
    return f"a CPU with {torch.backends.cpu.get_cpu_capability()}, {cores} core{'s' if cores > 1 else ''}"


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, str):
        return json.dumps(value)
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)
