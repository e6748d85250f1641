"""The front door: from a measurement and a forward model to an image, in one call."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from recon import _large
from recon._arguments import channels_back
from recon._curves import by_parabolas
from recon._decide import refuse_for_unknowns
from recon._first_guess import first_guess
from recon._memory import shortage
from recon._nonlinear import is_nonlinear
from recon._plug_and_play import from_classical
from recon._selection_problem import Choice, background
from recon._stages import builder, final_solve, of_several_starts, with_strength, with_tolerance, within_bounds
from recon.decisions import Plan, Request
from recon.info import Info, ReconstructionWarning, doubts_about, relative_residual, with_residuals
from recon.operators.unknown import Family
from recon.plan import prepare
from recon.uncertainty import pixelwise
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.loop import Solution
from solvers.validation import known_keywords, random_generator


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
    calibration: Any = None,
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
        "sobolev", "laplacian", "entropy", "low-rank" and "locally-low-rank" for series, "learned", "red",
        "ridge" or "none", an object of :mod:`priors`, or a denoiser ``D(v, sigma)``. Of a list, the one with the
        smallest predicted risk.
    solver : str or callable
        How to minimise: "auto" or a name such as "admm", "fista", "pdhg", "cg" or "sirt" (an unknown name is answered
        with all of them); a callable builds an algorithm from ``(data, prior, strength)``.
    noise : {"auto", "gaussian", "poisson", "poisson-gaussian", "impulse", "speckle", "rician"}, float, array or model
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
    calibration : Calibration, optional
        What :func:`recon.calibrate` found for this operator; it decides prior, solver and strength.
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

        refuse_for_unknowns(calibration)
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
        channel_axis=channel_axis, max_iter=max_iter, tol=tol, callback=callback, calibration=calibration,
    )  # fmt: skip
    rng = random_generator(rng)
    short = shortage(request.plan.memory)
    if short is not None:
        warnings.warn(short, ReconstructionWarning, stacklevel=3)
    if callback is None and _large.applies(request):
        plan, choice, found, selected = _large.run(request, tol is None, rng, progress)
    else:
        plan, choice, found, selected = _run(request, tol is None, rng, callback, progress)
    residual = relative_residual(request, plan.noise, found.image)
    objection = request.operator.objection(request.y)
    doubts = doubts_about(plan, found, residual, objection)
    for text in doubts:
        warnings.warn(text, ReconstructionWarning, stacklevel=3)
    image = within_bounds(plan.prior, found.image)
    spread = pixelwise(image, plan, builder(plan), rng, request.to_image) if uncertainty else None
    if request.to_image is not None:
        image = request.to_image(image)
    image = channels_back(image, channel_axis, request.operator)
    if not return_info:
        return image
    end = time.perf_counter()
    seconds = {"selection": selected - begin, "solve": end - selected, "total": end - begin}
    choice = None if choice is None else replace(choice, warm=None, finished=None)  # they hold the arrays of the search
    return image, Info(
        plan, found.status, found.iterations, with_residuals(found.history, request, plan.noise), seconds, choice,
        residual, doubts, objection,
        uncertainty=None if spread is None else channels_back(spread, channel_axis, request.operator),
    )  # fmt: skip


def _classical(request: Request, before: Plan, adapt: bool, rng: np.random.Generator) -> tuple[Choice | None, Array]:
    """The image that others start from, and how its strength was chosen."""
    learned = request.plan.decisions["solver"].choice == "learned-nonlinear-dpir" and not request.candidates
    if learned and before.sigma_known and request.y.shape == request.operator.out_shape:
        return None, by_parabolas(request.operator, request.y, before.noise, before.tol)
    # The probe of both is the same, so that their risks can be compared.
    classical = replace(request, plan=before, before=None, candidates=())
    usual = before.tol == request.plan.tol
    _, choice, found, _ = _run(classical, adapt and usual, copy.deepcopy(rng), None, False)
    return choice, found.image


def _run(
    request: Request, adapt: bool, rng: np.random.Generator, callback: Any, progress: bool
) -> tuple[Plan, Choice | None, Solution, float]:
    """The plan as it became, how the strength was chosen, the last solve, and when it began."""
    counted = request.y - background(request.plan.noise)
    if request.before is not None:
        request = from_classical(request, *_classical(request, request.before, adapt, rng))
    start = request.x0 if request.x0 is not None else first_guess(request.operator, counted)
    if is_nonlinear(request.operator) and request.x0 is None:
        start, request = of_several_starts(request, start, rng)
    if adapt:
        request = replace(request, plan=with_tolerance(request, arrays.to_float(arrays.norm(start))))
    plan, choice = with_strength(request, start, rng)
    selected = time.perf_counter()
    return plan, choice, final_solve(request, plan, choice, start, callback, progress), selected
