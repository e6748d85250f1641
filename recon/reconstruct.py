"""The front door: from a measurement and a forward model to an image, in one call."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from recon import _large
from recon._choice import balanced, best_of
from recon._memory import shortage
from recon._nonlinear import best_start, is_nonlinear, nonlinear_guess
from recon.noise import Gaussian, Poisson
from recon.operators.unknown import Family
from recon.plan import Decision, Plan, Request, channels_back, prepare
from recon.selection import COMPARED_TOL, USUAL_TOL, Choice, Problem, background, choose_strength, measured_count
from recon.uncertainty import pixelwise
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.loop import Solution, Status, solve
from solvers.validation import known_keywords

SEARCH_MAX_ITER = 200  # steps at one strength; the next one goes on from there
REACH = 0.8  # width of the averages that fill in what was not measured, over the typical distance of the samples
FAR_AWAY = 1e-3  # weight of the samples around, below which only the nearest one counts
DAMPING = 1e-2  # of the first guess, over the largest squared transfer
UNSEEN = 0.1  # distance from the limit that does not matter, over the noise carried back to the image
LOOSEST = 5.0  # however noisy, the tolerance is at most this many times the usual one
CONTRADICTED = 1.5  # residual over noise above which the answer does not explain the data
CONTRADICTED_BY_ESTIMATE = 3.0  # the same where the noise level is itself an estimate
INEXACT = 0.1  # residual over the measurement above which the answer does not explain data without noise


class ReconstructionWarning(UserWarning):
    """The result is questionable; the message says why and what to do."""


@dataclass(frozen=True)
class Info:
    """What was decided and how it went."""

    plan: Plan
    status: Status
    iterations: int
    history: dict[str, list[float]] = field(repr=False)
    seconds: dict[str, float] = field(repr=False)  # "selection", "solve", "total"
    choice: Choice | None  # trials of the strength, None where it was given
    residual: float  # root mean square of y - A x, over the noise level (1 is perfect); over that of y without noise
    warnings: tuple[str, ...]
    objection: str | None = None  # why the operator cannot have made this measurement
    unknowns: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # parameters found with the image
    uncertainty: Array | None = field(default=None, repr=False)  # root mean square error of each pixel, where asked for

    @property
    def trusted(self) -> bool:
        """Whether the image converged to something that explains the data."""
        return self.status.ok and self.objection is None and not _contradicted(self.plan, self.residual)

    def plot(self) -> Any:
        """Draw the convergence and the predicted risk; returns a matplotlib figure."""
        from recon.report import plot_info

        return plot_info(self)

    def __str__(self) -> str:
        lines = [
            str(self.plan),
            f"status    {self.status.name.lower()} after {self.iterations} steps: {self.status.value}",
        ]
        lines.append(f"residual  {_in_words(self.plan, self.residual)}")
        lines.append("seconds   " + ", ".join(f"{name} {value:.3g}" for name, value in self.seconds.items()))
        return "\n".join(lines + [f"warning   {text}" for text in self.warnings])

    def _repr_html_(self) -> str:
        import html

        return f"{self.plan._repr_html_()}<pre>{html.escape(str(self).split('status', 1)[-1])}</pre>"


@known_keywords
def reconstruct(
    y: Array,
    operator: Any,
    *,
    prior: Any = "auto",
    solver: Any = "auto",
    noise: Any = "auto",
    strength: Any = "auto",
    x0: Array | None = None,
    bounds: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    callback: Callable[[Any, int], Any] | None = None,
    progress: bool = False,
    rng: Any = None,
    uncertainty: bool = False,
    return_info: bool = False,
) -> Any:
    """Reconstruct the image ``x`` of ``y = A x + noise``, or of ``y = F(x) + noise``: nothing to tune.

    Minimises ``data(A x; y) + strength * prior(x)``; whatever is ``"auto"`` is decided from the data, and
    ``return_info=True`` says how.

    Parameters
    ----------
    y : array
        Measurement, ``(..., *operator.out_shape)``, numpy or torch, in any unit. Leading axes are a batch.
    operator : LinearOperator, NonlinearOperator, scipy LinearOperator, matrix, or (forward, adjoint)
        Forward model. Parameters that are :class:`~recon.operators.Unknown` are found with the image.
    prior : str, Prior or list of them
        What a good image looks like: "auto", "tv", "tgv", "huber-tv", "wavelet", "undecimated-wavelet", "tikhonov",
        "sobolev", "laplacian", "entropy", "low-rank" and "locally-low-rank" for series, "learned" or "none", an
        object of :mod:`priors`, or a denoiser ``D(v, sigma)``. Of a list, the one with the smallest predicted risk.
    solver : str or callable
        How to minimise: "auto" or a name such as "admm", "fista", "pdhg", "cg" or "sirt" (``recon.plan.SOLVERS`` has
        them all); a callable builds an algorithm from ``(data, prior, strength)``.
    noise : {"auto", "gaussian", "poisson", "poisson-gaussian", "impulse", "speckle"}, float, array or noise model
        A number is the standard deviation in the unit of ``y``, an array that of each sample; for the models see
        :mod:`recon.noise`.
    strength : {"auto", "joint", "sure", "gcv", "discrepancy", "whiteness", "l-curve"} or float
        Regularisation strength; ``info.plan.strength`` is the number used. "auto" takes the smallest predicted risk, in
        the form that suits the operator; the others name a criterion.
    x0 : array, optional
        Start of the iteration, of the image's shape.
    bounds : (float, float), optional
        Smallest and largest value allowed, ``-inf`` and ``inf`` included.
    channel_axis : int, optional
        Axis of ``y`` that holds colours or bands, to be reconstructed together.
    max_iter : int, optional
        Upper bound of the solver's steps.
    tol : float, optional
        Estimated distance to the limit, relative to the image, at which to stop.
    callback : callable, optional
        ``callback(state, k)`` after each step of the last solve; a true return value stops.
    progress : bool
        Show a progress bar on the standard error stream.
    rng : int or numpy.random.Generator, optional
        Source of the random probes; by default the same for every call.
    uncertainty : bool
        Also estimate how wrong each pixel may be, by eight simulated measurements of the result: ``info.uncertainty``,
        in the unit and of the shape of the image. See :mod:`recon.uncertainty` for what it cannot see.
    return_info : bool
        Also return what was decided and how it went.

    Returns
    -------
    x : array
        The image, ``(..., *operator.in_shape)``.
    info : Info
        Only with ``return_info=True``.

    Raises
    ------
    ReconError
        One of its subclasses names the argument, what was given, what was expected and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> from recon import reconstruct, operators as ops
    >>> psf = np.ones((1, 5)) / 5
    >>> A = ops.Blur(psf, shape=(32, 32))
    >>> x = reconstruct(A(np.eye(32, dtype=np.float32)), A)
    """
    if isinstance(operator, Family):
        from recon._joint import with_unknowns

        given = {
            "prior": prior, "solver": solver, "noise": noise, "strength": strength, "x0": x0, "bounds": bounds,
            "max_iter": max_iter, "tol": tol, "callback": callback, "progress": progress, "rng": rng,
        }  # fmt: skip
        found = with_unknowns(y, operator, channel_axis, given, partial(reconstruct, return_info=True))
        return found if return_info else found[0]
    if uncertainty and not return_info:
        raise ArgumentError(
            "uncertainty is True and return_info is False; the uncertainty is part of the info. Pass return_info=True."
        )
    begin = time.perf_counter()
    request = prepare(
        y, operator, prior=prior, solver=solver, noise=noise, strength=strength, x0=x0, bounds=bounds,
        channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback,
    )  # fmt: skip
    rng = np.random.default_rng(0 if rng is None else rng)
    short = shortage(request.plan.memory)
    if short is not None:
        warnings.warn(short, ReconstructionWarning, stacklevel=3)
    if callback is None and _large.applies(request):
        plan, choice, found, selected = _large.run(request, tol is None, rng, progress)
    else:
        plan, choice, found, selected = _run(request, tol is None, rng, callback, progress)
    residual = _residual(request, plan.noise, found.image)
    objection = request.operator.objection(request.y)
    doubts = _doubts(plan, found, residual, objection)
    for text in doubts:
        warnings.warn(text, ReconstructionWarning, stacklevel=3)
    image = _within_bounds(plan.prior, found.image)
    spread = pixelwise(image, plan, builder(plan), rng, request.to_image) if uncertainty else None
    if request.to_image is not None:
        image = request.to_image(image)
    image = channels_back(image, channel_axis, request.operator)
    if not return_info:
        return image
    end = time.perf_counter()
    seconds = {"selection": selected - begin, "solve": end - selected, "total": end - begin}
    choice = None if choice is None else replace(choice, warm=None)  # it holds the arrays of the search
    return image, Info(
        plan, found.status, found.iterations, found.history, seconds, choice, residual, doubts, objection,
        uncertainty=None if spread is None else channels_back(spread, channel_axis, request.operator),
    )  # fmt: skip


def _run(
    request: Request, adapt: bool, rng: np.random.Generator, callback: Any, progress: bool
) -> tuple[Plan, Choice | None, Solution, float]:
    """The plan as it became, how the strength was chosen, the last solve, and when it began."""
    counted = request.y - background(request.plan.noise)
    start = request.x0 if request.x0 is not None else first_guess(request.operator, counted)
    if is_nonlinear(request.operator) and request.x0 is None:
        start, request = _of_several_starts(request, start, rng)
    if adapt:
        request = replace(request, plan=with_tolerance(request, arrays.to_float(arrays.norm(start))))
    plan, choice = _with_strength(request, start, rng)
    selected = time.perf_counter()
    return plan, choice, _final(request, plan, choice, start, callback, progress), selected


def first_guess(operator: Any, y: Array) -> Array:
    """An image on the scale of the answer to start from.

    Where ``A = C B`` with a ``C`` that picks samples: what was not picked is interpolated where ``B x`` is an
    image, and ``B`` is inverted with a moderate damping. Elsewhere a few conjugate gradient steps of the least squares
    problem.
    """
    if is_nonlinear(operator):
        return nonlinear_guess(operator, y)
    pair = operator.factors()
    if pair is not None and pair[0].selects:
        outer, inner = pair
        damping = max(DAMPING * inner.norm() ** 2, 1e-30)
        picked = _filled(outer, y) if inner.transfer() is not None else outer.adjoint(y)
        return inner.solve_shifted(inner.adjoint(picked), damping)
    from solvers.krylov import CGLS
    from solvers.loop import unroll

    back = operator.adjoint(y)
    return unroll(CGLS(operator, y), arrays.zeros(tuple(back.shape), back), 5)


def _filled(selection: Any, y: Array) -> Array:
    """``selection^H y``; what it does not see is a local average of what it sees, or far from that the nearest sample.

    A start only: gradients do not pass.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    back = selection.adjoint(y)
    seen = arrays.to_numpy(selection.diagonal_gram()) > 0
    if seen.all() or not seen.any():
        return back
    values = arrays.to_numpy(back)
    width = REACH * float(seen.mean()) ** (-1 / seen.ndim)
    batch = (0.0,) * (values.ndim - seen.ndim)
    near = gaussian_filter(seen.astype(values.real.dtype), width, mode="nearest")
    average = gaussian_filter(values, (*batch, *(width,) * seen.ndim), mode="nearest") / np.maximum(near, FAR_AWAY)
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    filled = np.where(near > FAR_AWAY, average, values[(..., *nearest)])
    return arrays.to_device_of(np.where(seen, values, filled).astype(values.dtype, copy=False), back)


def with_tolerance(request: Request, image: float) -> Plan:
    """The plan with a tolerance that the noise allows: images this close to the limit cannot be told from it.

    ``image`` is the norm of an image on the scale of the answer. The gain ``|A^H y| / |y|`` of what was measured turns
    the noise level into one of the image.
    """
    plan, y, operator = request.plan, request.y, request.operator
    if isinstance(plan.noise, Poisson) or is_nonlinear(operator):
        return plan
    back, size = (arrays.to_float(arrays.norm(a)) for a in (operator.adjoint(y), y))
    if not (back > 0 and image > 0):
        return plan
    seen = math.sqrt(min(measured_count(operator, y), _pixels(request)))
    tol = UNSEEN * plan.noise.sigma * seen * size / (back * image)
    tol = min(max(tol, plan.tol), LOOSEST * plan.tol)
    stop = Decision(f"tol {tol:.2g}, at most {plan.max_iter} steps", "a tenth of the noise from the limit, relative")
    return replace(plan, tol=tol, decisions={**plan.decisions, "stop": stop})


def _of_several_starts(request: Request, start: Array, rng: Any) -> tuple[Array, Request]:
    """The best start, where the operator knows of several: local minima are met by restarts, and the plan says so."""
    plan = request.plan
    strength = plan.strength if plan.strength is not None else _first_strength(request, start)
    algorithm = builder(plan)(request.operator, request.y, strength)
    start, best, count = best_start(algorithm, request.operator, request.y, start, np.random.default_rng(rng or 0))
    if count == 1:
        return start, request
    found = Decision(f"number {best} of {count}", "not convex: each start was tried, the lowest objective goes on")
    return start, replace(request, plan=replace(plan, decisions={**plan.decisions, "start": found}))


def builder(plan: Plan) -> Callable[[Any, Array, float], Any]:
    """(operator, y, strength) -> algorithm, as the plan says."""
    from solvers.data_terms import LeastSquares, PoissonLikelihood

    def build(operator: Any, y: Array, strength: float) -> Any:
        data: Any = operator.data_term(y, plan.noise) if is_nonlinear(operator) else None
        if data is None and isinstance(plan.noise, Poisson):
            data = PoissonLikelihood(operator, y, plan.noise.background)
        elif data is None:
            data = LeastSquares(operator, y)
        return plan.solver(data, plan.prior, strength)

    return build


def _with_strength(request: Request, start: Array, rng: np.random.Generator) -> tuple[Plan, Choice | None]:
    """The plan with a strength, searched for where none was given."""
    plan = request.plan
    if plan.criterion is None:
        return plan, None
    seed = int(rng.integers(2**32))  # the same probe for each prior, so that their risks can be compared

    def search(plan: Plan, prior: Any, first: float | None = None, hold_out: bool | None = None) -> Choice:
        of = replace(request, plan=replace(plan, prior=prior))
        return _searched(of, start, np.random.default_rng(seed), first, hold_out)

    if request.candidates:
        names = [c.decisions["prior"].choice for c in request.candidates]
        i, choice = best_of([partial(search, c, c.prior) for c in request.candidates], names)
        found = request.candidates[i]
        plan = replace(found, tol=plan.tol, decisions={**found.decisions, "stop": plan.decisions["stop"]})
    elif request.joint:
        prior, choice = balanced(plan.prior, partial(search, plan))
        plan = replace(plan, prior=prior)
    else:
        choice = search(plan, plan.prior)
    return with_choice(replace(request, plan=plan), choice), choice


def _searched(
    request: Request, start: Array, rng: np.random.Generator, first: float | None, hold_out: bool | None
) -> Choice:
    """The strength of one prior."""
    plan = request.plan
    assert plan.criterion is not None
    compared = request.joint or bool(request.candidates)
    problem = Problem(
        request.operator, request.y, plan.noise, plan.sigma_known, builder(plan), start,
        min(plan.max_iter, SEARCH_MAX_ITER), COMPARED_TOL if compared else max(USUAL_TOL, plan.tol),
        patience=2 if compared else 1, early=not compared,
    )  # fmt: skip
    first = _first_strength(request, start) if first is None else first
    return choose_strength(problem, first, plan.criterion, rng, hold_out=hold_out)


def with_choice(request: Request, choice: Choice) -> Plan:
    """The plan with the strength chosen, and the noise level where that became known with it."""
    plan = request.plan
    reason = f"best by {choice.criterion} of {len(choice.trials)} tried"
    if choice.unsettled:
        reason += f", {len(choice.unsettled)} of them not settled"
    decisions = {**plan.decisions, "strength": Decision(f"{choice.strength:.4g}", reason)}
    if choice.rivals:
        power = measured_count(request.operator, request.y) / arrays.to_float(arrays.norm(request.y)) ** 2
        risks = ", ".join(f"{rival.prior} {rival.risk * power:.4g}" for rival in choice.rivals)
        name = plan.decisions["prior"].choice
        if request.joint:
            name += f", balance {choice.chosen}"
        decisions["prior"] = Decision(name, f"smallest relative risk: {risks}")
    plan = replace(plan, strength=choice.strength, decisions=decisions)
    if not plan.sigma_known and choice.level is not None and not getattr(request.operator, "neighbours_alike", True):
        found = Decision(f"Gaussian, about {choice.level:.3g}", "residual at the smallest predicted risk")
        plan = replace(plan, noise=Gaussian(choice.level), decisions={**decisions, "noise": found})
    return plan


def _first_strength(request: Request, start: Array) -> float:
    """Strength at which prior and noise balance on a first guess: ``variance * n / prior(x)`` for a Laplacian prior."""
    prior = request.plan.prior
    return balanced_strength(request, arrays.to_float(getattr(prior, "estimate", prior.value)(start)))


def balanced_strength(request: Request, value: float) -> float:
    """:func:`_first_strength` from the value of the prior."""
    plan = request.plan
    if isinstance(plan.noise, Poisson):
        variance = 1.0  # the likelihood is already in units of its variance
    else:
        level = arrays.to_float(arrays.norm(request.y)) / math.sqrt(measured_count(request.operator, request.y))
        variance = max(plan.noise.sigma, 1e-4 * level) ** 2
    return 0.5 * variance * _pixels(request) / value if value > 0 and math.isfinite(value) else variance


def _pixels(request: Request) -> int:
    """Number of pixels of all images."""
    operator = request.operator
    return arrays.size(request.y) // math.prod(operator.out_shape) * math.prod(operator.in_shape)


def _final(
    request: Request, plan: Plan, choice: Choice | None, start: Array, callback: Any, progress: bool
) -> Solution:
    """The solve whose image is returned; it goes on from the last one of the search."""
    assert plan.strength is not None  # given, or chosen by now
    algorithm = builder(plan)(request.operator, request.y, plan.strength)
    state = choice.warm(algorithm) if choice is not None else algorithm.init(start)
    if choice is not None and is_nonlinear(request.operator):
        # A first guess may be nearer than the search came, at strengths that were mostly larger.
        state = min((state, algorithm.init(start)), key=lambda found: arrays.to_float(algorithm.objective(found.x)))
    # A state of the search has settled before, at a strength nearby.
    return solve(
        algorithm, state=state, max_iter=plan.max_iter, tol=plan.tol, patience=2 if choice is None else 1,
        region=request.operator.interior,
        callback=callback, progress=progress,
    )  # fmt: skip


def _within_bounds(prior: Any, image: Array) -> Array:
    """Put right the rounding by which an iterate may be outside the constraints."""
    for term in prior.terms():
        if term.operator is None and getattr(term.function, "is_constraint", False):
            image = term.function.prox(image, 1.0)
    return image


def _residual(request: Request, noise: Any, image: Array) -> float:
    """Root mean square misfit over the noise level, or over the measurement where there is no noise."""
    y, operator = request.y, request.operator
    fit = operator(image) + background(noise)
    misfit = fit - y
    if isinstance(noise, Poisson):
        mean = arrays.namespace(y).clip(fit, min=1.0)
        misfit, level = misfit / mean**0.5, 1.0
    else:
        level = noise.sigma
    count = math.sqrt(measured_count(operator, y))
    root = arrays.to_float(arrays.norm(misfit)) / count
    level = level if level > 0 else arrays.to_float(arrays.norm(y)) / count
    return root / level if level > 0 else (0.0 if root == 0 else math.inf)


def _noiseless(plan: Plan) -> bool:
    return not isinstance(plan.noise, Poisson) and not plan.noise.sigma > 0


def _contradicted(plan: Plan, residual: float) -> bool:
    if _noiseless(plan):
        return residual > INEXACT
    return residual > (CONTRADICTED if plan.sigma_known else CONTRADICTED_BY_ESTIMATE)


def _in_words(plan: Plan, residual: float) -> str:
    return f"{residual:.3g} of the measurement" if _noiseless(plan) else f"{residual:.3g} times the noise"


def _doubts(plan: Plan, found: Solution, residual: float, objection: str | None) -> tuple[str, ...]:
    """What the caller should know before trusting the image."""
    doubts = [] if objection is None else [objection]
    if found.status is Status.DIVERGED:
        doubts.append(f"The solver diverged: {found.status.value}.")
    elif found.status is Status.MAX_ITER:
        doubts.append(f"The solver had not settled after {found.iterations} steps. Raise max_iter or tol.")
    if _contradicted(plan, residual):
        doubts.append(
            f"The residual is {_in_words(plan, residual)}: this operator, noise level or prior does not explain the "
            "data. Check the forward model with check_operator, and its geometry, scale and units."
        )
    return tuple(doubts)
