"""What a reconstruction would do, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recon._named_priors import NAMES as PRIORS
from recon._named_priors import named_prior
from recon._noise_level import estimate_looks
from recon._noise_other import Impulse, Speckle
from recon._nonlinear import is_nonlinear, nonlinear_solver
from recon._plug_and_play import denoiser_of, usual_strength
from recon._solver_names import SOLVERS, named_solver
from recon.noise import LEAST_SQUARES, Gaussian, NoiseModel, Poisson, PoissonGaussian, Working, estimate_sigma
from recon.operators.affine import Affine
from recon.operators.base import Operator
from recon.operators.pointwise import Mask
from recon.operators.unknown import Family
from recon.operators.wrappers import as_operator
from recon.selection import natural_criterion
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.validation import as_inexact, known_keywords, positive_float, positive_int, require_finite

NOISES = ("auto", "gaussian", "poisson", "poisson-gaussian", "impulse", "speckle")
STRENGTHS = ("auto", "joint", "sure", "gcv", "discrepancy", "whiteness", "l-curve")
DEFAULT_TOL = 1e-3
DEFAULT_MAX_ITER = 500


@dataclass(frozen=True)
class Decision:
    """One thing that was decided, and the reason."""

    choice: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What :func:`recon.reconstruct` does with a measurement.

    ``print(plan)`` gives a table. ``strength`` is a number once it is known: given, or selected by a reconstruction.
    """

    operator: Any
    noise: Any  # Gaussian or Poisson, what the solver works with
    sigma_known: bool
    prior: Any  # Prior, bounds included
    solver: Callable[..., Any] = field(repr=False)  # (data, prior, strength) -> algorithm
    strength: float | None
    criterion: str | None  # how the strength is selected; None where there is none to select
    max_iter: int
    tol: float
    channel_axis: int | None  # position of the channels in the measurement given
    decisions: dict[str, Decision] = field(repr=False)
    memory: int = 0  # estimate of the bytes allocated at the peak, the image included and the measurement not

    def __str__(self) -> str:
        width = max(len(name) for name in self.decisions)
        indent = max(len(d.choice) for d in self.decisions.values())
        rows = [f"{name:<{width}}  {d.choice:<{indent}}  {d.reason}" for name, d in self.decisions.items()]
        return "\n".join(row.rstrip() for row in rows)

    def _repr_html_(self) -> str:
        import html

        rows = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(d.choice)}</td><td>{html.escape(d.reason)}</td></tr>"
            for name, d in self.decisions.items()
        )
        return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True)
class Request:
    """A checked call: arrays in the layout the solvers use, and the plan."""

    y: Array  # (..., [channels,] *out_shape)
    operator: Any
    x0: Array | None
    plan: Plan
    to_image: Callable[[Array], Array] | None = None  # from the solution to the image, where it is solved for another
    candidates: tuple[Plan, ...] = ()  # a plan for each of the priors to choose from
    joint: bool = False  # whether the balance of the prior's own weights is chosen with the strength


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
    return_info: bool = False,
) -> Plan:
    """Say what :func:`recon.reconstruct` would do with the same arguments, without solving.

    Parameters
    ----------
    y, operator, prior, solver, noise, strength, x0, bounds, channel_axis, max_iter, tol, callback
        As for :func:`recon.reconstruct`; its other arguments do not matter here.

    Returns
    -------
    Plan
        ``print`` it for a table of what would be done and why.
    """
    if isinstance(operator, Family):
        from recon._joint import announced, settled

        values, _, reason = settled(y, operator, channel_axis)
        known = plan(
            y, operator.with_values(**values), prior=prior, solver=solver, noise=noise, strength=strength, x0=x0,
            bounds=bounds, channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback,
        )  # fmt: skip
        return announced(known, operator, values, reason)
    return prepare(
        y, operator, prior=prior, solver=solver, noise=noise, strength=strength, x0=x0, bounds=bounds,
        channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback,
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
) -> Request:
    """Check every argument of a reconstruction and decide what is left to decide."""
    decisions: dict[str, Decision] = {}
    y = _measurement(y)
    operator = _checked_operator(operator, y, x0)
    y = _channels_first(y, channel_axis, operator)
    if isinstance(operator, Affine):
        y, operator = _offset_subtracted(y, operator, noise, decisions)
    y = operator._admit(y, "y", operator.out_shape, operator.out_kind)
    if x0 is not None:
        x0 = _start(_channels_first(as_inexact("x0", x0), channel_axis, operator), y, operator)
    if callback is not None and not callable(callback):
        raise DTypeError(f"callback is {callback!r}; expected a function callback(state, k). Pass a function or None.")
    limit = DEFAULT_MAX_ITER if max_iter is None else positive_int("max_iter", max_iter)
    goal = DEFAULT_TOL if tol is None else positive_float("tol", tol)
    working = _noise(noise, y, operator, decisions)
    judge = natural_criterion(operator, working.model, working.known)
    operator, model, known = working.operator, working.model, working.known
    y = _where_measured(working.y, operator)
    if working.to_domain is not None:
        x0 = None if x0 is None else working.to_domain(x0)
        bounds = None if bounds is None else tuple(map(working.to_domain, _bounds(bounds, operator)))
    decisions["stop"] = Decision(
        f"tol {goal:g}, at most {limit} steps", "estimated distance to the limit, relative to the image"
    )

    def planned(prior: Any) -> Plan:
        own = dict(decisions)
        stop = own.pop("stop")
        whole, tunable = _prior(prior, y, bounds, operator, channel_axis is not None, own)
        build = _solver(solver, model, whole, operator, own)
        usual = None if denoiser_of(whole) is None else usual_strength(y, model)
        number, criterion = _strength(strength, tunable, judge, usual, own)
        if strength == "joint":
            _require_balance(whole)
        own["stop"] = stop
        return Plan(operator, model, known, whole, build, number, criterion, limit, goal, channel_axis, own)

    candidates = tuple(planned(p) for p in _several(prior, strength)) if isinstance(prior, (list, tuple)) else ()
    chosen = _undecided(candidates) if candidates else planned(prior)
    joint = isinstance(strength, str) and strength == "joint"
    request = Request(y, operator, x0, chosen, working.to_image, candidates, joint)
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


def _checked_operator(operator: Any, y: Array, x0: Any) -> Any:
    """An operator of the library as it is; a user's own one after a test of its adjoint (two applications)."""
    if isinstance(operator, Operator):
        return operator
    from recon.check import probe_operator

    operator = as_operator(operator, y=y, x0=x0)
    probe_operator(operator, rng=np.random.default_rng(0))
    return operator


def _measurement(y: Any) -> Array:
    y = as_inexact("y", y)
    if y.ndim == 0:
        raise ShapeError("y is 0-dimensional; expected an array of measurements. Pass the whole measurement.")
    if arrays.size(y) == 0:
        raise ShapeError(f"y is empty, of shape {tuple(y.shape)}; expected measurements. Pass a measurement.")
    require_finite("y", y)
    return y


def _channels_first(array: Array, channel_axis: int | None, operator: Any) -> Array:
    """Move the channels in front of the axes the operator takes."""
    if channel_axis is None:
        return array
    if isinstance(channel_axis, bool) or not hasattr(channel_axis, "__index__"):
        raise DTypeError(
            f"channel_axis is {channel_axis!r}; expected an integer such as -1. Pass the axis of the bands."
        )
    if not -array.ndim <= channel_axis < array.ndim:
        raise ArgumentError(
            f"channel_axis is {channel_axis}; the array has {array.ndim} axes. Pass an axis it has, such as -1."
        )
    xp = arrays.namespace(array)
    return xp.moveaxis(array, channel_axis, -len(operator.out_shape) - 1)


def channels_back(image: Array, channel_axis: int | None, operator: Any) -> Array:
    """Undo :func:`_channels_first` on an image."""
    if channel_axis is None:
        return image
    return arrays.namespace(image).moveaxis(image, -len(operator.in_shape) - 1, channel_axis)


def _offset_subtracted(y: Array, operator: Affine, noise: Any, decisions: dict[str, Decision]) -> tuple[Array, Any]:
    """The linear problem behind an offset that is known."""
    counts = ("poisson", "poisson-gaussian")
    if isinstance(noise, (Poisson, PoissonGaussian)) or (isinstance(noise, str) and noise in counts):
        raise ArgumentError(
            f"noise is {noise!r} and {operator!r} adds an offset; counts do not stay counts without it. "
            "Pass the linear part, and Poisson(background=...) for the offset."
        )
    if operator.offset.any():
        decisions["offset"] = Decision("subtracted", "it is known: the rest is linear")
    return operator.without_offset(y), operator.linear


def _start(x0: Array, y: Array, operator: Any) -> Array:
    batch = tuple(y.shape[: y.ndim - len(operator.out_shape)])
    expected = batch + operator.in_shape
    if tuple(x0.shape) != expected:
        raise ShapeError(
            f"x0 has shape {tuple(x0.shape)}; expected {expected}, the shape of the image. "
            "Pass a start of that shape, or None."
        )
    require_finite("x0", x0)
    return x0


def _noise(noise: Any, y: Array, operator: Any, decisions: dict[str, Decision]) -> Working:
    """The problem that the solvers see under the noise, and whether its level is known rather than estimated."""
    reason = "given"
    if isinstance(noise, str) and noise == "auto" and getattr(operator, "natural_noise", None):
        noise, reason = operator.natural_noise, "what the operator counts"
    if isinstance(noise, str) and noise in ("auto", "gaussian"):
        sigma = estimate_sigma(y, operator)
        about = "about" if getattr(operator, "neighbours_alike", True) else "below"
        decisions["noise"] = Decision(f"Gaussian, {about} {sigma:.3g}", "estimated from the measurement")
        decisions["data term"] = Decision(*LEAST_SQUARES)
        return Working(y, operator, Gaussian(sigma), False, LEAST_SQUARES)
    if isinstance(noise, str):
        if noise not in NOISES:
            raise OptionError(
                f"noise is {noise!r}; expected one of {', '.join(map(repr, NOISES))}, a standard deviation, or a noise "
                f"model.{suggestion(noise, NOISES)} Pass one of them."
            )
        if noise == "speckle":
            noise, reason = Speckle(estimate_looks(y, operator)), "looks estimated from the measurement"
        elif noise == "poisson-gaussian":
            noise, reason = PoissonGaussian.estimated(y, operator), "estimated from the measurement"
        else:
            noise = Poisson() if noise == "poisson" else Impulse()
    if not isinstance(noise, NoiseModel):
        noise = Gaussian(noise if np.ndim(noise) else positive_float("noise", noise, zero=True))
    working = noise.working(y, operator)
    decisions["noise"] = Decision(str(noise), reason)
    decisions["data term"] = Decision(*working.data_term)
    return working


def _where_measured(y: Array, operator: Any) -> Array:
    """Zeros where the operator does not measure: what stands there is no misfit."""
    if operator.sampling is None:
        return y
    if isinstance(y, np.ndarray) and not np.any(y, where=~np.broadcast_to(operator.sampling, y.shape)):
        return y  # without a copy
    return Mask(np.broadcast_to(operator.sampling, operator.out_shape))(y)


def _prior(
    prior: Any, y: Array, bounds: Any, operator: Any, channels: bool, decisions: dict[str, Decision]
) -> tuple[Any, bool]:
    """The prior with the bounds, and whether it has a strength to choose."""
    from priors import Box, PlugAndPlay

    tunable = True
    if isinstance(prior, str) or prior is None:
        name = "none" if prior is None else prior
        if name not in PRIORS:
            raise OptionError(
                f"prior is {prior!r}; expected one of {', '.join(PRIORS)}, or a prior object."
                f"{suggestion(name, PRIORS)} Pass one of them."
            )
        prior, title = named_prior(name, y, operator, channels)
        tunable = name != "none"
        reason = "edges are kept, nothing is assumed of the content" if name == "auto" else "given"
        decisions["prior"] = Decision(title, reason)
    elif all(hasattr(prior, attribute) for attribute in ("prox", "terms", "value")):
        tunable = not getattr(prior, "is_constraint", False)
        decisions["prior"] = Decision(repr(prior), "given")
    elif callable(prior):
        prior = PlugAndPlay(prior)
        decisions["prior"] = Decision(repr(prior.denoiser), "given, a denoiser")
    else:
        raise DTypeError(
            f"prior is {prior!r}; expected a name ({', '.join(PRIORS)}), an object with value, prox and terms such as "
            "priors.TotalVariation(), or a denoiser D(v, sigma)."
        )
    if bounds is not None:
        box = Box(*_bounds(bounds, operator))
        prior = prior + box
        decisions["bounds"] = Decision(f"[{box.lower}, {box.upper}]", "given")
    return prior, tunable


def _several(priors: Any, strength: Any) -> Any:
    """The priors to choose from, checked as a list."""
    if len(priors) < 2:
        raise ArgumentError(f"prior is {priors!r}; expected two or more to choose from. Pass the one by itself.")
    if not isinstance(strength, str) or strength in ("discrepancy", "whiteness", "l-curve"):
        raise ArgumentError(
            f"prior is a list and strength {strength!r}; priors are compared by their predicted risks, each at its own "
            "strength. Pass strength='auto', or one prior."
        )
    return priors


def _undecided(candidates: tuple[Plan, ...]) -> Plan:
    """The plan before the priors are compared: that of the first, which says so."""
    names = ", ".join(c.decisions["prior"].choice for c in candidates)
    for candidate in candidates:
        if candidate.criterion is None:
            raise ArgumentError(
                f"prior is a list that holds {candidate.decisions['prior'].choice}, whose strength is not chosen; "
                "expected priors with a strength. Leave it out."
            )
    first = candidates[0]
    said = {"prior": Decision(f"one of {names}", "smallest predicted risk")}
    solvers = {c.decisions["solver"].choice for c in candidates}
    if len(solvers) > 1:
        said["solver"] = Decision(" or ".join(sorted(solvers)), "as the prior needs")
    return replace(first, decisions={**first.decisions, **said})


def _require_balance(prior: Any) -> None:
    rebalanced = getattr(prior, "rebalanced", None)
    if rebalanced is None or rebalanced(1.0) is None:
        raise ArgumentError(
            f"strength is 'joint' and the prior {prior!r}, which has one weight; expected one with several, such as "
            "'tgv' or a sum of two priors. Pass strength='auto'."
        )


def _bounds(bounds: Any, operator: Any) -> tuple[float, float]:
    if operator.kind == "complex":
        raise DTypeError(
            f"bounds are {bounds!r}; {operator!r} gives complex images, which have none. Pass bounds=None."
        )
    try:
        lower, upper = (float(b) for b in bounds)
    except (TypeError, ValueError):
        raise DTypeError(
            f"bounds are {bounds!r}; expected two numbers (lower, upper). Use -inf or inf for none."
        ) from None
    if not lower < upper:
        raise ArgumentError(f"bounds are ({lower}, {upper}); expected lower < upper. Swap or widen them.")
    return lower, upper


def _solver(solver: Any, noise: Any, prior: Any, operator: Any, decisions: dict[str, Decision]) -> Callable[..., Any]:
    """A callable (data, prior, strength) -> algorithm."""
    if callable(solver):
        decisions["solver"] = Decision(getattr(solver, "__name__", repr(solver)), "given")
        return solver
    if solver not in SOLVERS:
        raise OptionError(
            f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}, or a callable (data, prior, strength)."
            f"{suggestion(str(solver), SOLVERS)} Pass one of them."
        )
    if solver == "auto":
        name, reason = _natural_solver(noise, prior, operator)
        build, _ = named_solver(name, noise, prior, operator)
    else:
        name = solver
        build, reason = named_solver(name, noise, prior, operator)
    decisions["solver"] = Decision(name, reason)
    return build


def _natural_solver(noise: Any, prior: Any, operator: Any) -> tuple[str, str]:
    if is_nonlinear(operator):
        return nonlinear_solver(operator)
    quadratic = isinstance(noise, Gaussian)
    if denoiser_of(prior) is not None:
        if quadratic:
            return "dpir", "a denoiser, told less noise from step to step"
        return "admm", "a denoiser in place of the prior's proximal map"
    if quadratic and all(getattr(term.function, "is_quadratic", False) for term in prior.terms()):
        return "cg", "the objective is quadratic"
    on_the_image = all(term.operator is None for term in prior.terms())
    if quadratic and on_the_image and len(prior.terms()) == 1 and operator.has_solve_shifted:
        return "douglas-rachford", "closed form of the data, exact proximal map of the prior"
    if quadratic and on_the_image and operator.kind == "complex":
        return "pdhg", "the prior's proximal map is exact, and no linear system is left"
    if quadratic and operator.has_solve_shifted and (on_the_image or _is_sparse_in_a_frame(prior)):
        return "pdhg", "closed form of the data, and the prior's terms need no linear system"
    if operator.fourier_gram() is not None:
        return "admm", "the normal operator is diagonal in Fourier space: closed form"
    if quadratic and operator.has_solve_shifted and operator.neighbours_alike and _is_planar_variation(prior):
        return "douglas-rachford", "closed form of the data, a quick proximal map of the prior"
    if quadratic and operator.factors() is not None:
        return "admm", "data and prior split into closed forms"
    return "admm", "conjugate gradients inside, preconditioned and warm-started"


def _is_sparse_in_a_frame(prior: Any) -> bool:
    """Whether a prior is of coefficients in a redundant frame, on which ADMM takes hundreds of steps."""
    from priors import WaveletFrame

    return any(isinstance(term.operator, WaveletFrame) for term in prior.terms())


def _is_planar_variation(prior: Any) -> bool:
    """Whether a prior is total variation of images, perhaps within bounds; its proximal map starts from the last."""
    from priors import TotalVariation

    parts = [part for part in getattr(prior, "parts", (prior,)) if not hasattr(part, "bounds")]
    return len(parts) == 1 and isinstance(parts[0], TotalVariation) and parts[0].ndim < 3


def _strength(
    strength: Any, tunable: bool, criterion: str, usual: float | None, decisions: dict[str, Decision]
) -> tuple[float | None, str | None]:
    if not tunable:
        decisions["strength"] = Decision("none", "the prior has no strength")
        return 0.0, None
    if isinstance(strength, str):
        if strength not in STRENGTHS:
            raise OptionError(
                f"strength is {strength!r}; expected one of {', '.join(STRENGTHS)}, or a number above 0."
                f"{suggestion(strength, STRENGTHS)} Pass one of them."
            )
        if strength == "joint":
            decisions["strength"] = Decision("selected, with the balance of the prior", f"smallest risk: {criterion}")
            return None, criterion
        if strength != "auto":
            decisions["strength"] = Decision("selected", f"criterion given: {strength}")
            return None, strength
        if usual is not None:
            decisions["strength"] = Decision(f"{usual:.4g}", "what has proved itself for denoisers, over the noise")
            return usual, None
        decisions["strength"] = Decision("selected", f"smallest predicted risk: {criterion}")
        return None, criterion
    number = positive_float("strength", strength)
    decisions["strength"] = Decision(f"{number:g}", "given")
    return number, None
