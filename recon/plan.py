"""What a reconstruction would do, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recon import _counts
from recon._arguments import (
    channels_first,
    checked_bounds,
    checked_measurement,
    checked_operator,
    checked_start,
    offset_subtracted,
    where_measured,
)
from recon._bands import one_band
from recon._decide import (
    decide_calibrated,
    decide_noise,
    decide_prior,
    decide_strength,
    refuse_for_unknowns,
    require_balance,
    several,
    undecided,
)
from recon._learned_steps import LEARNED, LEARNED_STOP, denoiser_strength, enough_for_start
from recon._natural_solver import decide_solver
from recon._plug_and_play import denoiser_of, starts_from_classical
from recon._regulariser import regulariser_strength
from recon._usual_priors import usual_priors
from recon.decisions import Decision, Plan, Request
from recon.operators.affine import Affine
from recon.operators.unknown import Family
from recon.selection import natural_criterion
from solvers.errors import DTypeError
from solvers.validation import as_inexact, known_keywords, positive_float, positive_int

DEFAULT_TOL = 1e-3
DEFAULT_MAX_ITER = 500


@known_keywords
def plan(
    y: Any,
    operator: Any,
    *,
    prior: Any = "auto",
    solver: Any = "auto",
    noise: Any = "auto",
    strength: Any = "auto",
    x0: Any = None,
    bounds: Any = None,
    channel_axis: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    callback: Any = None,
    progress: bool = False,
    rng: Any = None,
    uncertainty: bool = False,
    calibration: Any = None,
    return_info: bool = False,
) -> Plan:
    """Say what :func:`recon.reconstruct` would do with the same arguments, without solving.

    Parameters
    ----------
    y, operator, prior, solver, noise, strength, x0, bounds, channel_axis, max_iter, tol, callback, calibration
        As for :func:`recon.reconstruct`; its other arguments do not matter here.

    Returns
    -------
    Plan
        ``print`` it for a table of what would be done and why.
    """
    if isinstance(operator, Family):
        from recon._joint import announced, settled

        refuse_for_unknowns(calibration)
        values, _, reason = settled(y, operator, channel_axis)
        known = plan(
            y, operator.with_values(**values), prior=prior, solver=solver, noise=noise, strength=strength, x0=x0,
            bounds=bounds, channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback,
        )  # fmt: skip
        return announced(known, operator, values, reason)
    return prepare(
        y, operator, prior=prior, solver=solver, noise=noise, strength=strength, x0=x0, bounds=bounds,
        channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback, calibration=calibration,
    ).plan  # fmt: skip


def prepare(
    y: Any,
    operator: Any,
    *,
    prior: Any,
    solver: Any,
    noise: Any,
    strength: Any,
    x0: Any,
    bounds: Any,
    channel_axis: int | None,
    max_iter: int | None,
    tol: float | None,
    callback: Any,
    calibration: Any = None,
) -> Request:
    """Check every argument of a reconstruction and decide what is left to decide."""
    decisions: dict[str, Decision] = {}
    y = checked_measurement(y)
    operator = checked_operator(operator, y, x0)
    y = channels_first(y, channel_axis, operator)
    if isinstance(operator, Affine):
        y, operator = offset_subtracted(y, operator, noise, decisions)
    y = operator._admit(y, "y", operator.out_shape, operator.out_kind)
    if x0 is not None:
        x0 = checked_start(channels_first(as_inexact("x0", x0), channel_axis, operator), y, operator)
    elif getattr(operator, "starting", None) is not None:
        decisions["start"] = Decision(*operator.starting)
    if callback is not None and not callable(callback):
        raise DTypeError(f"callback is {callback!r}; expected a function callback(state, k). Pass a function or None.")
    limit = DEFAULT_MAX_ITER if max_iter is None else positive_int("max_iter", max_iter)
    goal = DEFAULT_TOL if tol is None else positive_float("tol", tol)
    working = decide_noise(noise, y, operator, channel_axis is not None, decisions)
    operator, model, known = working.operator, working.model, working.known
    y = where_measured(working.y, operator)
    if working.to_domain is not None:
        x0 = None if x0 is None else working.to_domain(x0)
        bounds = None if bounds is None else tuple(map(working.to_domain, checked_bounds(bounds, operator)))
    decisions["stop"] = Decision(
        f"tol {goal:g}, at most {limit} steps", "estimated distance to the limit, relative to the image"
    )

    if calibration is not None:
        channels = channel_axis is not None
        prior = decide_calibrated(calibration, operator, channels, prior=prior, solver=solver, strength=strength)

    why = ""
    if calibration is None and isinstance(prior, str) and prior == "auto":
        prior, why = usual_priors(operator, y, model, start=x0, solver=solver, strength=strength)
    if calibration is None and _counts.apply(prior, solver, model, y, operator):
        working = _counts.with_gaussian_noise(working)
        y, operator, model, known = working.y, working.operator, working.model, working.known
        decisions["data term"] = Decision(*working.data_term)
    judge = natural_criterion(operator, model, known)
    several_given = isinstance(prior, (list, tuple))

    def planned(prior: Any, solver: Any = solver, strength: Any = strength) -> Plan:
        own = dict(decisions)
        stop = own.pop("stop")
        whole, tunable = decide_prior(prior, y, bounds, one_band(operator), channel_axis is not None, model, own)
        build = decide_solver(solver, model, whole, operator, own)
        if calibration is not None and calibration.changes and denoiser_of(whole) is not None:
            build = calibration.build(model)
            own["solver"] = Decision("dpir", f"calibrated: {calibration}")
        usual = None if denoiser_of(whole) is None else denoiser_strength(own["solver"].choice, y, model, operator)
        usual = regulariser_strength(whole, y, model) if usual is None else usual
        number, criterion = decide_strength(strength, tunable, judge, None if several_given else usual, own)
        if strength == "joint":
            require_balance(whole)
        own["stop"] = Decision(*LEARNED_STOP) if own["solver"].choice in LEARNED else stop
        return Plan(operator, model, known, whole, build, number, criterion, limit, goal, channel_axis, own, usual)

    candidates = tuple(planned(p) for p in several(prior, strength)) if several_given else ()
    chosen = undecided(candidates) if candidates else planned(prior)
    joint = isinstance(strength, str) and strength == "joint"
    before = None
    if x0 is None and any(map(starts_from_classical, candidates or [chosen])):
        of_its_kind = planned("tv", "auto", "auto")
        near = of_its_kind if candidates else enough_for_start(of_its_kind, chosen)
        before = next((c for c in candidates if c.prior == of_its_kind.prior), near)
        chosen.decisions["start"] = Decision(before.decisions["prior"].choice, "a classical image saves steps")
    if why:
        said = chosen.decisions["prior"]
        chosen.decisions["prior"] = Decision(said.choice, f"{said.reason}; no learned one: {why}")
    request = Request(y, operator, x0, chosen, working.to_image, candidates, joint, before, bool(candidates))
    return _with_memory(request, callback)


def _with_memory(request: Request, callback: Any) -> Request:
    """The request with what it will take at the peak, which a plan mentions where it is much."""
    from recon import _large, _memory

    in_place = callback is None and _large.applies(request)
    needed, free = _memory.estimated_bytes(request, in_place=in_place), _memory.free_bytes()
    if needed >= _memory.SHOWN:
        reason = "at the peak, beside the measurement" + (", solved in place" if in_place else "")
        known = "" if free is None else f"; {_memory.shown(free)} are free"
        request.plan.decisions["memory"] = Decision(f"about {_memory.shown(needed)}", reason + known)
    return replace(request, plan=replace(request.plan, memory=needed))
