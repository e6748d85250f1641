"""Every solver, on a problem whose minimiser is known, and the number of steps within which it must be there.

``SOLVERS`` pass the public battery, on damped least squares; ``OWN`` have each a problem of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import scipy.optimize

import solvers
from priors import Zero
from recon import operators as ops
from recon._solver_checks import HalfSquare
from solvers import LeastSquares, PoissonLikelihood
from solvers.learned_nonlinear_plug_and_play import LAST
from solvers.learned_plug_and_play import UNTAUGHT


def regularised(name: str, **options: Any) -> Any:
    """``(operator, y, function, strength)`` -> algorithm, for a solver of ``data + strength * prior``."""
    solver = getattr(solvers, name)
    return lambda operator, y, function, strength: solver(LeastSquares(operator, y), function, strength, **options)


def least_squares(name: str) -> Any:
    """The same for a solver of damped least squares; ``function`` is the damping."""
    solver = getattr(solvers, name)
    return lambda operator, y, function, strength: solver(operator, y, strength)


def anderson(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """On a proximal gradient of fixed steps."""
    build = regularised("ProximalGradient", step_size=1 / operator.norm() ** 2)
    return solvers.Anderson(build(operator, y, function, strength))


def minres(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """On the normal equations."""
    return solvers.MINRES(lambda x: operator.gram(x) + strength * x, operator.adjoint(y))


def conjugate_gradients(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """On the normal equations."""
    return solvers.CG(lambda x: operator.gram(x) + strength * x, operator.adjoint(y))


def discrepancy(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """Without noise there is nothing to stop at."""
    return solvers.Discrepancy(solvers.CGLS(operator, y, strength), 0.0)


def safeguarded(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """With proposals that double the iterate, which do harm."""
    classical = solvers.FISTA(LeastSquares(operator, y), function, strength)
    return solvers.Safeguarded(classical, lambda state, k, run: classical.init(2 * state.x + 1))


def half_quadratic(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """At a fixed penalty, and with the strength at which the split problem has the minimiser asked for."""
    beta = 4.0
    return solvers.HalfQuadratic(LeastSquares(operator, y), function, strength * beta / (beta - strength), beta=beta)


SOLVERS: dict[str, tuple[Any, int]] = {
    "admm": (regularised("ADMM"), 60),
    "anderson": (anderson, 40),
    "cg": (conjugate_gradients, 13),
    "cg, regularised": (regularised("RegularisedCG"), 13),
    "cgls": (least_squares("CGLS"), 13),
    "condat-vu": (regularised("CondatVu"), 90),
    "data-proximal gradient": (regularised("DataProximalGradient"), 60),
    "discrepancy": (discrepancy, 13),
    "douglas-rachford": (regularised("DouglasRachford"), 90),
    "fista": (regularised("FISTA"), 60),
    "fista, monotone": (regularised("FISTA", monotone=True), 60),
    "gauss-newton": (regularised("GaussNewton"), 15),
    "gauss-newton, iteratively regularised": (regularised("IRGN"), 25),
    "gradient descent": (regularised("GradientDescent"), 50),
    "half-quadratic": (half_quadratic, 90),
    "l-bfgs": (regularised("LBFGS"), 40),
    "levenberg-marquardt": (regularised("LevenbergMarquardt"), 15),
    "linearised admm": (regularised("LinearisedADMM"), 90),
    "lsmr": (least_squares("LSMR"), 13),
    "lsqr": (least_squares("LSQR"), 13),
    "minres": (minres, 13),
    "nonlinear admm": (regularised("NonlinearADMM"), 120),
    "nonlinear pdhg": (regularised("NonlinearPDHG"), 120),
    "ogm": (regularised("OGM"), 70),
    "ordered subsets": (regularised("OrderedSubsets"), 90),
    "pd3o": (regularised("PD3O"), 90),
    "pdhg": (regularised("PDHG"), 70),
    "pogm": (regularised("POGM"), 60),
    "proximal newton": (regularised("ProximalNewton"), 30),
    "restarted": (lambda *problem: solvers.Restarted(regularised("FISTA")(*problem)), 60),
    "safeguarded": (safeguarded, 60),
    "stochastic pdhg": (regularised("StochasticPDHG"), 150),
    "proximal gradient": (regularised("ProximalGradient"), 90),
}


@dataclass(frozen=True)
class Case:
    """A solver on a problem of its own."""

    build: Callable[[Any], Any]  # measurement -> algorithm
    y: np.ndarray
    start: np.ndarray
    minimiser: np.ndarray
    steps: int  # within which it is reached
    adaptive: bool = False  # whether something that follows the data is a constant to gradients, right in the limit


SHAPE = (6, 5)
FRAME = (4, 4)
LEVEL, STRENGTH = 0.7, 0.3
ROWS = np.vstack([np.eye(12)] * 3) + 0.1 * np.random.default_rng(0).random((36, 12))


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def algebraic(name: str, steps: int) -> Case:
    """Least squares with rows weighted by one over their sums."""
    y = ROWS @ _rng().standard_normal(12) + 0.3 * _rng().standard_normal(36)
    weights = 1 / np.sqrt(ROWS.sum(1))
    minimiser = np.linalg.lstsq(weights[:, None] * ROWS, weights * y, rcond=None)[0]
    operator = ops.from_matrix(ROWS)
    return Case(
        lambda y: getattr(solvers, name)(LeastSquares(operator, y), Zero(), 0.0), y, 0 * minimiser, minimiser, steps
    )


def likeliest(name: str, steps: int) -> Case:
    """The likeliest image of counts: a root of the gradient of the likelihood with no pixel at zero."""
    counts = _rng().poisson(ROWS @ (10 + 20 * _rng().random(12))).astype(float)
    guess = np.linalg.lstsq(ROWS, counts, rcond=None)[0]
    minimiser = scipy.optimize.root(lambda x: ROWS.T @ (1 - counts / (ROWS @ x + 0.5)), guess, tol=1e-14).x
    assert (minimiser > 0).all()
    operator, solver = ops.from_matrix(ROWS), getattr(solvers, name)
    return Case(
        lambda y: solver(PoissonLikelihood(operator, y, 0.5), Zero(), 0.0), counts, np.ones(12), minimiser, steps
    )


@cache
def blur() -> tuple[Any, np.ndarray]:
    """A blur with a closed form, and its matrix."""
    operator = ops.Blur(np.array([[0, 1, 0], [1, 3, 1], [0, 1, 0]]) / 7, SHAPE)
    return operator, operator(np.eye(30).reshape(30, *SHAPE)).reshape(30, 30).T


def denoised(steps: int, build: Callable[[Any], Any], level: float = LEVEL) -> Case:
    """Plug-and-play at one level s, with a denoiser that divides by 1 + s^2.

    The fixed point ``z = x / (1 + s^2)``, ``A^T (A x - y) + strength / s^2 (x - z) = 0`` solves one linear system.
    """
    _, matrix = blur()
    y = _rng().standard_normal(SHAPE)
    normal = (1 + level**2) * matrix.T @ matrix + STRENGTH * np.eye(30)
    minimiser = np.linalg.solve(normal, matrix.T @ y.reshape(-1)).reshape(SHAPE)
    return Case(build, y, np.zeros(SHAPE), minimiser, steps)


def plug_and_play(name: str, steps: int, **options: Any) -> Case:
    operator, solver = blur()[0], getattr(solvers, name)
    return denoised(
        steps,
        lambda y: solver(LeastSquares(operator, y), HalfSquare(), STRENGTH, level=LEVEL, first=LEVEL, **options),
    )


def nonlinear_plug_and_play(steps: int) -> Case:
    """Its level is the noise over a typical gain of the operator, which it finds."""

    def build(y: Any) -> Any:
        return solvers.NonlinearDPIR(LeastSquares(blur()[0], y), HalfSquare(), STRENGTH, noise=0.5, first=1e-9)

    return denoised(steps, build, build(np.zeros(SHAPE)).init(np.zeros(SHAPE)).last)


def learned_nonlinear(steps: int) -> Case:
    """Pixels seen as they are: the level is nearly the noise; the denoiser is told what the data step lets through."""
    noise = 0.5
    level = LAST * noise
    rho = STRENGTH / level**2 * np.exp(UNTAUGHT["penalty"])
    told = ((level * np.exp(UNTAUGHT["level"])) ** 4 + (noise / (1 + rho)) ** 4) ** 0.5
    y = _rng().standard_normal(SHAPE)

    def build(y: Any) -> Any:
        return solvers.LearnedNonlinearDPIR(LeastSquares(ops.Identity(SHAPE), y), HalfSquare(), STRENGTH, noise=noise)

    return Case(build, y, np.zeros(SHAPE), y / (1 + told + rho * told), steps)


def phases(name: str, steps: int) -> Case:
    """Magnitudes of the diffraction patterns of a real image, which they determine."""
    field = ops.CodedDiffraction(3, SHAPE, rng=0).field
    truth = 0.5 + _rng().random(SHAPE)
    start = truth + 0.2 * np.random.default_rng(2).standard_normal(SHAPE)
    return Case(lambda b: getattr(solvers, name)(field, b, real=True), abs(field(truth)), start, truth, steps)


def unknown_light(steps: int, build: Callable[[Any, Any, Any], Any]) -> Case:
    """Frames of a scene through an unknown gain of two numbers: least squares over both."""
    frames = ops.stack([ops.Shift(FRAME, shift) for shift in ((0, 0), (2, 0), (0, 1))])
    family = ops.Illumination(ops.Unknown(shape=(1, 2)), frames.out_shape) @ frames
    scene = 0.5 + _rng().random(FRAME)
    y = family.with_values(gain=np.array([[1.2, 0.8]]))(scene) + 0.05 * _rng().standard_normal(frames.out_shape)

    def misfit(both: np.ndarray) -> np.ndarray:
        return np.ravel(family.with_values(gain=both[None, 16:])(both[:16].reshape(FRAME)) - y)

    tight = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
    both = scipy.optimize.least_squares(misfit, np.append(scene, (1.0, 1.0)), **tight).x
    _, minimiser = family.gauge(both[:16].reshape(FRAME), gain=both[None, 16:])
    return Case(lambda y: build(family, y, family.neutral()), y, np.zeros(FRAME), minimiser, steps)


OWN: dict[str, Callable[[], Case]] = {
    "amplitude flow": lambda: phases("AmplitudeFlow", 60),
    "dpir": lambda: plug_and_play("DPIR", 60),
    "dpir, learned": lambda: plug_and_play(
        "LearnedDPIR", 60, noise=1e-9, schedule=lambda features: {name: -usual for name, usual in UNTAUGHT.items()}
    ),
    "dpir, learned nonlinear": lambda: learned_nonlinear(60),
    "dpir, modelled": lambda: replace(plug_and_play("ModelledDPIR", 16, inner=4, memory=5), adaptive=True),
    "dpir, nonlinear": lambda: nonlinear_plug_and_play(60),
    "error reduction": lambda: phases("ErrorReduction", 120),
    "hybrid input-output": lambda: phases("HIO", 200),
    "mlem": lambda: likeliest("MLEM", 60),
    "osem": lambda: likeliest("OSEM", 60),
    "palm": lambda: unknown_light(40, lambda family, y, start: solvers.PALM(family, y, Zero(), 0.0, start)),
    "raar": lambda: phases("RAAR", 150),
    "sart": lambda: algebraic("SART", 60),
    "sirt": lambda: algebraic("SIRT", 60),
    "variable projection": lambda: unknown_light(10, solvers.VariableProjection),
}
