"""How a reconstruction went, and what speaks against trusting it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon._nonlinear import is_nonlinear
from recon._selection_problem import Choice, background, measured_count
from recon.decisions import Plan, Request
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import Solution, Status

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
    history: dict[str, list[float]] = field(repr=False)  # at each look: that of the solver, and residual as below
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


def relative_residual(request: Request, noise: Any, image: Array) -> float:
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


def with_residuals(history: dict[str, list[float]], request: Request, noise: Any) -> dict[str, list[float]]:
    """The history with what :func:`relative_residual` was at each look, where the misfit tells: least squares."""
    if isinstance(noise, Poisson) or is_nonlinear(request.operator):
        return history
    count = measured_count(request.operator, request.y)
    level = noise.sigma if noise.sigma > 0 else arrays.to_float(arrays.norm(request.y)) / math.sqrt(count)
    if not level > 0:
        return history
    return {**history, "residual": [math.sqrt(2 * misfit / count) / level for misfit in history["misfit"]]}


def _noiseless(plan: Plan) -> bool:
    return not isinstance(plan.noise, Poisson) and not plan.noise.sigma > 0


def _contradicted(plan: Plan, residual: float) -> bool:
    if _noiseless(plan):
        return residual > INEXACT
    return residual > (CONTRADICTED if plan.sigma_known else CONTRADICTED_BY_ESTIMATE)


def _in_words(plan: Plan, residual: float) -> str:
    return f"{residual:.3g} of the measurement" if _noiseless(plan) else f"{residual:.3g} times the noise"


def _remedy(plan: Plan) -> str:
    """Of a solver that has not settled."""
    from priors import Zero

    if isinstance(plan.prior, Zero) and not _noiseless(plan):
        return "Without a prior they fit the noise: name a prior, or pass solver='cgls', which stops at the noise."
    return "Raise max_iter or tol."


def doubts_about(plan: Plan, found: Solution, residual: float, objection: str | None) -> tuple[str, ...]:
    """What the caller should know before trusting the image."""
    doubts = [] if objection is None else [objection]
    if found.status is Status.DIVERGED:
        doubts.append(f"The solver diverged: {found.status.value}.")
    elif found.status is Status.MAX_ITER:
        doubts.append(f"The solver had not settled after {found.iterations} steps. {_remedy(plan)}")
    if _contradicted(plan, residual):
        doubts.append(
            f"The residual is {_in_words(plan, residual)}: this operator, noise level or prior does not explain the "
            "data. Check the forward model with check_operator, and its geometry, scale and units."
        )
    return tuple(doubts)
