"""Total variation with deepinv, for :mod:`recon.bench._peers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.bench._peer_run import PeerRun
from recon.bench.problems import Problem
from solvers.arrays import threads

INNER = 20  # iterations of the proximal map, as deepinv's examples cut them


def deblur(problem: Problem, strength: float, *, solver: str, step: float) -> PeerRun:
    """Deblurring with its periodic blur."""
    import deepinv
    import torch

    def physics(dtype: Any) -> Any:
        psf = torch.from_numpy(problem.operator.psf.astype(dtype))[None, None]
        return deepinv.physics.BlurFFT(img_size=(1, *problem.operator.in_shape), filter=psf)

    return _solver(problem.y, physics(np.float32), physics(np.float64), strength, solver, step)


def with_our_projector(problem: Problem, strength: float, *, solver: str, step: float) -> PeerRun:
    """Its solver alone: the projections are ours."""
    import deepinv
    import torch

    operator = problem.operator

    def wrapped(function: Any) -> Any:
        return lambda x, **_: torch.from_numpy(function(x[:, 0].numpy()))[:, None]

    physics = deepinv.physics.LinearPhysics(
        A=wrapped(operator), A_adjoint=wrapped(operator.adjoint), img_size=(1, *operator.in_shape)
    )
    return _solver(problem.y, physics, physics, strength, solver, step)


def tomography(problem: Problem, strength: float, *, solver: str, step: float) -> PeerRun:
    """Its projector as well, of norm one, and what that measures of the same image and noise."""
    import deepinv
    import torch

    size = problem.operator.in_shape[0]
    angles = torch.from_numpy(np.rad2deg(problem.operator.angles)).float()
    physics = deepinv.physics.Tomography(angles=angles, img_width=size, circle=False, normalize=True)
    with torch.no_grad():
        clean = physics.A(torch.from_numpy(problem.truth)[None, None])[0, 0].numpy()
    ratio = float(np.linalg.norm(clean) / np.linalg.norm(problem.y))
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    y, weight = clean + np.float32(ratio * float(problem.noise)) * noise, strength * ratio**2
    found = _solver(y, physics, physics, weight, solver, step)

    def reference() -> np.ndarray:
        from recon import reconstruct
        from recon.operators import from_deepinv

        operator = from_deepinv(physics, (1, size, size))
        return np.asarray(
            reconstruct(
                y[None], operator, prior="tv", solver="proximal-newton", strength=weight, max_iter=40, tol=1e-9
            )[0]
        )

    return PeerRun(found.run, found.objective, reference)


def _solver(y: np.ndarray, physics: Any, exact: Any, strength: float, solver: str, step: float) -> PeerRun:
    """A run of its named solver; ``exact`` is the physics that judges, in double precision where it can."""
    import deepinv
    import torch

    torch.set_num_threads(threads())
    fidelity = deepinv.optim.data_fidelity.L2()
    measured = torch.from_numpy(y)[None, None]

    def run(iterations: int) -> np.ndarray:
        model = deepinv.optim.optim_builder(
            solver, prior=deepinv.optim.prior.TVPrior(n_it_max=INNER), data_fidelity=fidelity, max_iter=iterations,
            params_algo={"stepsize": step, "lambda": strength, "a": 3, "beta": 1.0}, early_stop=False,
        )  # fmt: skip
        with torch.no_grad():
            return model(measured, physics)[0, 0].numpy()

    def objective(image: np.ndarray) -> float:
        x = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        exactly = x if exact is physics else x.double()
        with torch.no_grad():
            data = fidelity(exactly, measured.to(exactly.dtype), exact)
            return float(data) + strength * float(deepinv.optim.prior.TVPrior().fn(x.double()))

    return PeerRun(run, objective)
