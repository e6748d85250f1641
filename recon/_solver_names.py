"""Solvers by name: what builds each from ``(data, prior, strength)``, and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon._nonlinear import is_nonlinear, require_nonlinear_solver
from recon._plug_and_play import SETTLING, BuildSettling, denoiser_of
from recon._selection_problem import measured_count
from recon.noise import Gaussian, Poisson
from solvers.errors import ArgumentError

CLASSES = {
    "admm": "ADMM",
    "cg": "RegularisedCG",
    "condat-vu": "CondatVu",
    "data-proximal": "DataProximalGradient",
    "douglas-rachford": "DouglasRachford",
    "dpir": "DPIR",
    "fista": "FISTA",
    "gauss-newton": "GaussNewton",
    "gradient": "GradientDescent",
    "half-quadratic": "HalfQuadratic",
    "irgn": "IRGN",
    "lbfgs": "LBFGS",
    "learned-dpir": "LearnedDPIR",
    "learned-nonlinear-dpir": "LearnedNonlinearDPIR",
    "levenberg-marquardt": "LevenbergMarquardt",
    "linearised-admm": "LinearisedADMM",
    "modelled-dpir": "ModelledDPIR",
    "nonlinear-admm": "NonlinearADMM",
    "nonlinear-dpir": "NonlinearDPIR",
    "nonlinear-pdhg": "NonlinearPDHG",
    "ogm": "OGM",
    "ordered-subsets": "OrderedSubsets",
    "pd3o": "PD3O",
    "pdhg": "PDHG",
    "pogm": "POGM",
    "proximal-newton": "ProximalNewton",
    "stochastic-pdhg": "StochasticPDHG",
}
"""Solvers of ``data + strength * prior``."""

NONLINEAR = (
    "fista", "gauss-newton", "gradient", "irgn", "lbfgs", "learned-nonlinear-dpir", "levenberg-marquardt",
    "nonlinear-admm", "nonlinear-dpir", "nonlinear-pdhg",
)  # fmt: skip
"""Those that take nonlinear operators."""

KRYLOV = {"cgls": "CGLS", "lsmr": "LSMR", "lsqr": "LSQR"}
"""Solvers of damped least squares."""

TOMOGRAPHY = {"mlem": "MLEM", "osem": "OSEM", "sart": "SART", "sirt": "SIRT"}
"""Solvers without a prior but bounds, for operators that are non-negative."""

SOLVERS = ("auto", *sorted([*CLASSES, *KRYLOV, *TOMOGRAPHY]))


def named_solver(name: str, noise: Any, prior: Any, operator: Any) -> tuple[Callable[..., Any], str]:
    """The callable ``(data, prior, strength) -> algorithm`` of a name, and what there is to say about it.

    Raises
    ------
    ArgumentError
        The solver does not take this operator, prior or noise; says why, and what does.
    """
    require_nonlinear_solver(name, operator, noise, NONLINEAR)
    build, remark = _build(name, noise)
    if name in SETTLING and isinstance(noise, Gaussian) and not is_nonlinear(operator) and denoiser_of(prior):
        build = BuildSettling(name, build, noise)
    _trial(build, noise, prior, operator)
    return build, remark


def _build(name: str, noise: Any) -> tuple[Callable[..., Any], str]:
    import solvers
    from recon._learned_steps import BuildLearnedDPIR
    from recon._nonlinear_plug_and_play import BuildLearnedNonlinearDPIR, BuildNonlinearDPIR
    from recon._plug_and_play import BuildDPIR, BuildModelledDPIR

    if name == "nonlinear-dpir":
        return BuildNonlinearDPIR(noise), "given"
    if name == "learned-nonlinear-dpir":
        return BuildLearnedNonlinearDPIR(noise), "given"
    if name == "dpir":
        return BuildDPIR(noise), "given"
    if name == "modelled-dpir" and isinstance(noise, Gaussian):
        return BuildModelledDPIR(noise), "given"
    if name == "learned-dpir" and isinstance(noise, Gaussian):
        return BuildLearnedDPIR(noise), "given"
    if name in CLASSES:
        return getattr(solvers, CLASSES[name]), "given"
    sigma = 1.0 if isinstance(noise, Poisson) else noise.sigma if isinstance(noise, Gaussian) else None
    if name in KRYLOV:
        return _StoppedKrylov(name, sigma), "given; without a prior it stops where the residual is the noise"
    start = "starts from a uniform image and " if name in ("mlem", "osem") else ""
    return _StoppedPasses(name, sigma), f"given; it {start}stops where the residual is the noise"


class _StoppedKrylov:
    """CGLS, LSQR or LSMR: Tikhonov is their damping, and without a prior the noise stops them."""

    def __init__(self, name: str, sigma: Any):
        self.name, self.sigma = name, sigma

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        import solvers
        from priors import Tikhonov, Zero

        solver = getattr(solvers, KRYLOV[self.name])
        if not data.quadratic:
            raise ArgumentError(
                f"solver is {self.name!r}, which takes least squares without weights; the data term is "
                f"{type(data).__name__}. Use solver='admm', 'pdhg' or 'fista'."
            )
        if prior == Tikhonov():
            return solver(data.operator, data.y, strength)
        if isinstance(prior, Zero):
            return _stopped(solver(data.operator, data.y), self.sigma)
        raise ArgumentError(
            f"solver is {self.name!r}, which takes prior='none' or 'tikhonov' and no bounds; the prior is {prior!r}. "
            "Pass one of them, or use solver='admm', 'pdhg' or 'fista' for any prior."
        )


class _StoppedPasses:
    """SIRT, SART, MLEM or OSEM, stopped by the noise."""

    def __init__(self, name: str, sigma: Any):
        self.name, self.sigma = name, sigma

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        import solvers

        counts = hasattr(data, "background")
        if self.name in ("sirt", "sart") and not data.quadratic:
            raise ArgumentError(
                f"solver is {self.name!r}, which takes least squares without weights; the data term is "
                f"{type(data).__name__}. Use {'solver=' + repr('osem') + ' for counts, or ' if counts else ''}"
                "solver='admm' or 'pdhg'."
            )
        solver = getattr(solvers, TOMOGRAPHY[self.name])
        start = {"uniform": True} if self.name in ("mlem", "osem") else {}
        return _stopped(solver(data, prior, strength, **start), self.sigma)


def _stopped(algorithm: Any, sigma: Any) -> Any:
    """The algorithm, stopped by the discrepancy principle where the noise is one number above zero."""
    from solvers import Discrepancy

    if sigma is None or np.ndim(sigma) or not sigma > 0:
        return algorithm
    count = None if algorithm.y is None else measured_count(algorithm.operator, algorithm.y)
    return Discrepancy(algorithm, float(sigma), count)


def _trial(build: Callable[..., Any], noise: Any, prior: Any, operator: Any) -> None:
    """Build the algorithm without a measurement: what it cannot do is said before anything is computed."""
    from solvers import LeastSquares, PoissonLikelihood

    data = PoissonLikelihood(operator, None) if isinstance(noise, Poisson) else LeastSquares(operator, None)
    bare = all(getattr(term.function, "is_constraint", False) for term in prior.terms())
    build(data, prior, 0.0 if bare else 1.0)
