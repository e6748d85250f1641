"""Reconstruction where parameters of the forward model are unknown: they are found first, or in turns with the image.

Three ways, by what the measurement can tell:

- it holds more numbers than image and parameters together (several frames through one lens, a series of one scene):
  least squares over both (:class:`solvers.VariableProjection`), with no prior to bias the parameters;
- it does not, and the model has a guess (:meth:`~recon.operators.unknown.Parametrised.estimated`): the guess stands,
  for nothing else in the data speaks about the parameters;
- neither: image and parameters in turns (:class:`solvers.PALM`), each with what is known of it.

The image is then reconstructed by the operator with these values, as if they had always been known.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from recon._arguments import channels_first, checked_measurement
from recon.decisions import Decision, Plan
from recon.operators.unknown import Family, undone
from solvers import arrays
from solvers.alternating import FEW, PALM
from solvers.errors import ArgumentError, DTypeError
from solvers.loop import solve
from solvers.variable_projection import VariableProjection

PROJECTIONS = 15  # Gauss-Newton steps
SETTLED = 1e-6  # relative change of the misfit at which they end
TURNS = 300
TOL = 1e-4


def settled(y: Any, family: Family, channel_axis: int | None) -> tuple[dict[str, np.ndarray], str, str]:
    """First values of the parameters, the way in which they are found from there, and a reason."""
    measured = numbers(y, family, channel_axis)
    guessed = family.estimated(measured)
    values = {**family.neutral(), **guessed}
    known = {name for name, unknown in family.unknowns.items() if unknown.start is not None}
    parameters = sum(value.size for value in values.values())
    images = measured.size // math.prod(family.out_shape) * math.prod(family.in_shape)
    free = all(unknown.prior is None for unknown in family.unknowns.values())
    if free and measured.size > images + parameters and parameters <= FEW:
        return values, "projection", "least squares with the image: the data outnumber image and parameters"
    blind = sorted(set(family.of_a_series) - known)
    if blind:
        raise ArgumentError(
            f"{', '.join(blind)} of {family!r} is unknown, and y holds no more numbers than an image; nothing in it "
            "tells. Measure several exposures of one scene, or a chart (family.fit), or pass Unknown(start=...)."
        )
    if set(guessed) | known == set(values):
        return values, "guess", family.guessing if guessed else "first guess given"
    return values, "turns", "in turns with the image, which the same prior makes likely"


def numbers(y: Any, family: Family, channel_axis: int | None) -> np.ndarray:
    """The measurement as doubles, channels in front."""
    measured = np.asarray(arrays.to_numpy(channels_first(checked_measurement(y), channel_axis, family)))
    known = family.with_values(**family.neutral())
    kind = known.out_kind or known.kind
    if kind != "complex" and np.iscomplexobj(measured):
        raise DTypeError(
            f"y has dtype {measured.dtype}; parameters of {known!r} are found from real measurements. "
            "Pass real ones, or an operator whose parameters are known."
        )
    measured = known._admit(measured, "y", family.out_shape, kind)
    return measured.astype(complex if np.iscomplexobj(measured) else float)


def with_unknowns(y: Any, family: Family, channel_axis: int | None, given: dict[str, Any], image_of: Any) -> Any:
    """``(image, info)`` where ``image_of(y, operator, channel_axis=..., **given)`` reconstructs by a known operator."""
    values, way, reason = settled(y, family, channel_axis)
    if way == "projection":
        values = _projected(numbers(y, family, channel_axis), family, values)
    elif way == "turns":
        values = _in_turns(y, family, channel_axis, values, given, image_of)
    image, info = image_of(y, family.with_values(**values), channel_axis=channel_axis, **given)
    plan = announced(info.plan, family, values, reason)
    return image, replace(info, plan=plan, unknowns=values)


def announced(plan: Plan, family: Family, values: dict[str, np.ndarray], reason: str) -> Plan:
    """The plan with a line on the unknowns."""
    what = ", ".join(f"{name} {value.shape}" for name, value in values.items())
    return replace(plan, decisions={"unknown": Decision(what, reason), **plan.decisions})


def _projected(y: np.ndarray, family: Family, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    misfits = [math.inf]

    def enough(state: Any, k: int) -> bool:
        misfits.append(state.misfit)
        return misfits[-2] - misfits[-1] <= SETTLED * misfits[-1]

    algorithm = VariableProjection(family, y, values)
    start = undone(family.with_values(**values), y)
    found = solve(algorithm, start, max_iter=PROJECTIONS, tol=1e-9, callback=enough)
    return dict(found.state.values)


def _in_turns(
    y: Any,
    family: Family,
    channel_axis: int | None,
    values: dict[str, np.ndarray],
    given: dict[str, Any],
    image_of: Any,
) -> dict[str, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a model whose parameters are only a first guess
        _, first = image_of(y, family.with_values(**values), channel_axis=channel_axis, **given)
    measured = numbers(y, family, channel_axis)
    algorithm = PALM(family, measured, first.plan.prior, first.plan.strength or 0.0, values)
    start = undone(family.with_values(**values), measured)
    found = solve(algorithm, start, max_iter=TURNS, tol=TOL, objective=False)
    return dict(found.state.values)
