"""Values of an operator specification: arrays inline or from files, angles, and what functions of this package make."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recon import files, sampling, trajectories
from recon import psf as psfs
from recon.gaps import landsat7_gaps
from recon.operators._antialias import KERNELS
from solvers.errors import FileError, SpecError, suggestion

_TWO_TURNS = 4 * math.pi


@dataclass(frozen=True)
class Source:
    """A specification and where it stands."""

    name: str
    folder: Path
    """What the paths in it are relative to."""
    content: Any
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    """The line of each key; nested keys are given from the outside in."""

    def error(self, message: str, *keys: str) -> SpecError:
        """A SpecError that names the file and the line of ``keys``."""
        line = self.lines.get(keys)
        return SpecError(f"{self.name}{'' if line is None else f', line {line}'}: {message}")


def plain(source: Source, key: str, value: Any) -> Any:
    """Numbers, names and shapes as YAML gives them."""
    # YAML 1.1 reads 1e-3 (no dot) as a string.
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def array(source: Source, key: str, value: Any) -> np.ndarray:
    """An array given inline, or read from a file."""
    if isinstance(value, str):
        try:
            return files.read(source.folder / value).array
        except FileError as error:
            raise source.error(f"{key}: {error}", key) from error
    try:
        values = np.asarray([plain(source, key, entry) for entry in value] if isinstance(value, list) else value)
    except ValueError:
        raise source.error(f"{key} has rows of different lengths; expected equal rows of numbers.", key) from None
    if values.dtype.kind not in "biufc" or not values.size:
        raise source.error(f"{key} is {value!r}; expected numbers, or the path of a file that holds them.", key)
    return values


def number_or_array(source: Source, key: str, value: Any) -> Any:
    """One number, or an array."""
    number = plain(source, key, value)
    return number if isinstance(number, (int, float)) else array(source, key, value)


def psf(source: Source, key: str, value: Any) -> Any:
    """A point spread function: an array, the name of an antialiasing kernel, or the parameters of a function."""
    if isinstance(value, str) and value in KERNELS:
        return value
    if isinstance(value, Mapping):
        return _made(source, key, value, _SHAPES)
    values = array(source, key, value)
    # Integers are a picture of the PSF and carry no scale: let it keep the brightness of the image.
    picture = isinstance(value, str) and values.dtype.kind in "iu" and values.any()
    return values / values.sum() if picture else values


def _made(source: Source, key: str, value: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """What one of the functions makes of its parameters, ``{name: {parameter: value}}``."""
    name = next((str(name) for name in value if name not in functions), next(iter(value), ""))
    if len(value) != 1 or name not in functions:
        raise source.error(
            f"{key} has the keys {list(value)}; expected one of {list(functions)}.{suggestion(name, functions)}", key
        )
    options, allowed = value[name], list(inspect.signature(functions[name]).parameters)
    if not isinstance(options, Mapping) or not set(options) <= set(allowed):
        raise source.error(f"{name} is {options!r}; expected a mapping with {', '.join(allowed)}.", key, name)
    try:
        # A measured PSF is the one whose option is an array.
        return functions[name](
            **{
                option: (array if option == "image" else plain)(source, option, given)
                for option, given in options.items()
            }
        )
    except SpecError:
        raise
    except (TypeError, ValueError) as error:
        raise source.error(f"{name}: {error}", key, name) from error


_SHAPES: dict[str, Callable[..., np.ndarray]] = {name: getattr(psfs, name) for name in psfs.__all__}
_LINES = {f.__name__: f for f in (sampling.uniform_lines, sampling.variable_density_lines)}
_PLANES = {
    f.__name__: f
    for f in (
        sampling.variable_density_points,
        sampling.poisson_disc,
        sampling.radial_lines,
        sampling.caipirinha,
        landsat7_gaps,
    )
}
_TRAJECTORIES = {
    f.__name__: f for f in (trajectories.radial, trajectories.spiral, trajectories.rosette, trajectories.kooshball)
}


def mask(source: Source, key: str, value: Any) -> np.ndarray:
    """Booleans: zero is not measured, the one other value (1, or 255 in a picture) is; or a function's parameters."""
    if isinstance(value, Mapping):
        return _sampled(source, key, value)
    values = array(source, key, value)
    levels = np.unique(values)
    if levels.size > 2 or (levels.size == 2 and levels[0] != 0):
        shown = ", ".join(map(str, levels[:4].tolist()))
        raise source.error(f"{key} holds {levels.size} values ({shown}, ...); expected 0 and one other.", key)
    return values != 0


def _sampled(source: Source, key: str, value: Mapping[str, Any]) -> np.ndarray:
    """A mask that a function makes; lines get ``samples`` each."""
    rest = {name: options for name, options in value.items() if name != "samples"}
    made = np.asarray(_made(source, key, rest, {**_LINES, **_PLANES}))
    if "samples" not in value:
        return made
    samples = value["samples"]
    if made.ndim > 1 or isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise source.error(f"samples is {samples!r}; expected how many a line has, with one of {list(_LINES)}.", key)
    return np.repeat(made[:, None], samples, axis=1)


def trajectory(source: Source, key: str, value: Any) -> np.ndarray:
    """Positions in k-space, or the parameters of a function that makes them."""
    return np.asarray(
        _made(source, key, value, _TRAJECTORIES) if isinstance(value, Mapping) else array(source, key, value)
    )


def angles(source: Source, key: str, value: Any) -> np.ndarray | int:
    """Radians, from a list, a file, a range, or any of these in degrees; an integer is a number of equal steps."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, Mapping):
        values = array(source, key, value)
        largest = float(np.nanmax(np.abs(values)))
        if largest > _TWO_TURNS:
            remedy = f"For degrees write {key}: {{values: ..., degrees: true}}."
            raise source.error(f"{key} reach {largest:g}; expected radians. {remedy}", key)
        return values
    allowed = ("values", "degrees") if "values" in value else ("start", "stop", "count", "degrees")
    for name in value:
        if name not in allowed:
            hint = suggestion(name, allowed)
            raise source.error(f"{key} has no key {name!r}; it takes {', '.join(allowed)}.{hint}", key, str(name))
    degrees = value.get("degrees", False)
    if not isinstance(degrees, bool):
        raise source.error(f"degrees is {degrees!r}; expected true or false.", key, "degrees")
    values = array(source, key, value["values"]) if "values" in value else _range(source, key, value)
    return np.deg2rad(values) if degrees else values


def _range(source: Source, key: str, value: Mapping[str, Any]) -> np.ndarray:
    start, stop, count = value.get("start", 0.0), value.get("stop"), value.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise source.error(f"count is {count!r}; expected the number of angles, a positive integer.", key)
    try:
        return np.linspace(float(start), float(stop), count, endpoint=False)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise source.error(f"start is {start!r} and stop is {stop!r}; expected two numbers.", key) from None


CONVERTERS: dict[str, Callable[[Source, str, Any], Any]] = {
    "airlight": number_or_array,
    "angles": angles,
    "aperture": array,
    "band_mtf": array,
    "coils": number_or_array,
    "counts": number_or_array,
    "gain": array,
    "indices": array,
    "mask": mask,
    "masks": mask,
    "matrix": array,
    "offset": number_or_array,
    "pan_response": array,
    "patterns": number_or_array,
    "positions": array,
    "probe": array,
    "psf": psf,
    "psfs": array,
    "response": array,
    "rows": array,
    "shifts": array,
    "trajectories": array,
    "trajectory": trajectory,
    "transmission": array,
    "uv": array,
    "values": array,
    "weights": array,
}
"""For each parameter that is an array, what turns its YAML into one."""
