"""Learned step schedules: a small network from what a problem and a run look like to factors of a classical schedule.

    log factors = bound * tanh(W_n tanh(... tanh(W_1 clip((f - mean) / scale) + b_1) ...) + b_n)

The features f are free of units and sizes, so that what was learned on some operators carries over to others. They are
clipped to the range that was seen in training: beyond it the nearest that was seen decides. The last layer starts at
zero, where every factor is one: the classical schedule itself. Use needs numpy alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import ShapeError
from solvers.weight_files import Shelf

FOLDER = Path(__file__).parent / "weights"
FORMAT = "recon-schedule-1"
OWN = "Train one with `recon train-steps`."


@dataclass(frozen=True, eq=False)
class LearnedSchedule:
    """A small network that proposes log-factors of a classical schedule's parameters.

    Parameters
    ----------
    inputs : tuple of str
        Names of the features, in the order of ``mean`` and ``scale``.
    outputs : tuple of str
        Names of the parameters whose log-factors it gives.
    mean, scale : array (inputs,)
        What is taken off each feature, and what it is divided by.
    bound : array (outputs,)
        Largest log-factor of each parameter.
    layers : tuple of (array (n, m), array (n,))
        Weights and biases, the first layer first.
    card : dict
        How it was made.
    seen : float
        Where the features are clipped, in units of ``scale``.
    known : array (problems, inputs), optional
        Features of problems of the training, in units of ``scale``; NaN in those that do not matter. All log-factors
        are multiplied by ``exp(-(d / reach)^2 / 2)``, ``d`` being the distance to the nearest of them: where nothing
        alike was seen, the schedule is the classical one. None trusts it everywhere.
    reach : float
        Distance at which a problem is still alike.

    Raises
    ------
    ShapeError
        The arrays do not fit each other.

    Examples
    --------
    >>> classical = LearnedSchedule.untrained(("share", "noise"), {"level": 1.0}, widths=(4,))
    >>> classical({"share": 0.5, "noise": 0.1})
    {'level': 0.0}
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    bound: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    seen: float = math.inf
    known: np.ndarray | None = None
    reach: float = 1.0

    def __post_init__(self) -> None:
        sizes = [len(self.inputs), *(len(bias) for _, bias in self.layers)]
        fit = all(w.shape == (n, m) for (w, _), m, n in zip(self.layers, sizes[:-1], sizes[1:], strict=True))
        given = (len(self.mean), len(self.scale), len(self.bound))
        if not fit or sizes[-1] != len(self.outputs) or given != (sizes[0], sizes[0], sizes[-1]):
            raise ShapeError(
                f"the layers have shapes {[w.shape for w, _ in self.layers]}, mean, scale and bound lengths {given}; "
                f"expected a network from {len(self.inputs)} features to {len(self.outputs)} factors. Correct them."
            )

    @classmethod
    def untrained(
        cls, inputs: tuple[str, ...], bounds: Mapping[str, float], *, widths: tuple[int, ...] = (32, 32), rng: Any = 0
    ) -> LearnedSchedule:
        """The classical schedule, ready to be trained: random hidden layers and a last one of zeros."""
        generator = np.random.default_rng(rng)
        sizes = [len(inputs), *widths]
        hidden = [(generator.standard_normal((n, m)) / math.sqrt(m), np.zeros(n)) for m, n in pairwise(sizes)]
        last = (np.zeros((len(bounds), sizes[-1])), np.zeros(len(bounds)))
        ones = np.ones(len(inputs))
        return cls(inputs, tuple(bounds), 0 * ones, ones, np.array(list(bounds.values())), (*hidden, last))

    def __call__(self, features: Mapping[str, float]) -> dict[str, float]:
        """Log-factors by name, within the bounds; all zero where a feature or the network is not finite."""
        x = (np.array([features[name] for name in self.inputs], dtype=np.float64) - self.mean) / self.scale
        x = np.clip(x, -self.seen, self.seen)
        with np.errstate(all="ignore"):
            for weight, bias in self.layers[:-1]:
                x = np.tanh(weight @ x + bias)
            weight, bias = self.layers[-1]
            out = self.bound * np.tanh(weight @ x + bias)
            out = out * self.trust(features)
        if not np.isfinite(out).all():
            out = np.zeros(len(out))
        return dict(zip(self.outputs, out.tolist(), strict=True))

    def trust(self, features: Mapping[str, float]) -> float:
        """How much alike the problems of the training are: between 0 and 1."""
        if self.known is None:
            return 1.0
        x = (np.array([features[name] for name in self.inputs], dtype=np.float64) - self.mean) / self.scale
        return math.exp(-0.5 * float(np.nansum((self.known - x) ** 2, axis=1).min()) / self.reach**2)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(weight.size + bias.size for weight, bias in self.layers)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> LearnedSchedule:
        """A schedule of the library by name, or one of your own by path.

        Raises
        ------
        OptionError, FileError
            The name is unknown; the file is a pickle, damaged, or holds no schedule.
        """
        from safetensors.numpy import load

        found = shelf().read(name_or_path)
        tensors, about = load(found.tensors), json.loads(found.metadata["schedule"])
        layers = tuple((tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(about["layers"]))
        parts = (tensors["mean"], tensors["scale"], tensors["bound"])
        seen, reach = about.get("seen"), about.get("reach", 1.0)
        names = tuple(about["inputs"]), tuple(about["outputs"])
        seen = math.inf if seen is None else seen
        return cls(*names, *parts, layers, about["card"], seen, tensors.get("known"), reach)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a ``.safetensors`` file that :meth:`load` takes."""
        from safetensors.numpy import save_file

        tensors = {"mean": self.mean, "scale": self.scale, "bound": self.bound}
        if self.known is not None:
            tensors["known"] = self.known
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"weight.{i}": weight, f"bias.{i}": bias}
        about = {"inputs": self.inputs, "outputs": self.outputs, "layers": len(self.layers), "card": self.card}
        about |= {"seen": self.seen if math.isfinite(self.seen) else None, "reach": self.reach}
        metadata = {"format": FORMAT, "schedule": json.dumps(about, sort_keys=True)}
        save_file({name: np.ascontiguousarray(t, np.float64) for name, t in tensors.items()}, os.fspath(path), metadata)


def shelf() -> Shelf:
    """The schedules that come with the library."""
    return Shelf(FOLDER, FORMAT, "schedule", OWN)
