"""Total-variation deblurring beside deepinv, in one run: ``python -m benchmarks.deblur``.

``camera``, Gaussian blur of sigma 2, noise 0.01. For us: the whole call, the choice of the strength included, knowing
neither weight nor noise level. For deepinv: its TV-ADMM at the oracle weight, with the inner iterations of its proximal
map cut to 20 as in its examples, at several step sizes, the fewest iterations that come within 0.05 dB of its limit and
stay there; and ten iterations with the inner iterations that it does when nobody cuts them. Compile time apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.problems import Problem, measure, photograph, psnr, seconds
from recon import operators as ops
from recon import reconstruct
from recon.psf import gaussian
from solvers.arrays import threads

CLOSE = 0.05  # dB from the limit
REPEATS = 7
STEPS = (1.0, 10.0, 30.0, 100.0)
ITERATIONS = (10, 14, 20, 28, 40, 56, 80)


def camera_problem() -> Problem:
    """Camera, Gaussian blur of sigma 2, noise 0.01."""
    truth = photograph("camera")
    return measure("camera", truth, ops.Blur(gaussian(2.0), shape=truth.shape), 0.01)


def best_weight(problem: Problem) -> tuple[float, float]:
    """Oracle weight and its PSNR at convergence, over a grid of factor 1.1."""
    weights = 1e-4 * 1.1 ** np.arange(-12, 30)
    scores = [
        psnr(problem.truth, reconstruct(problem.y, problem.operator, prior="tv", strength=w, tol=1e-4, max_iter=2000))
        for w in weights
    ]
    i = int(np.argmax(scores))
    return float(weights[i]), scores[i]


def ours(problem: Problem) -> dict[str, float]:
    """Time and PSNR of one call, and of the same solve run to convergence."""

    def call() -> Any:
        return reconstruct(problem.y, problem.operator, prior="tv", return_info=True)

    image, info = call()
    converged = reconstruct(
        problem.y, problem.operator, prior="tv", strength=info.plan.strength, tol=1e-5, max_iter=5000
    )
    return {
        "seconds": seconds(call, REPEATS),
        "psnr": psnr(problem.truth, image),
        "limit": psnr(problem.truth, converged),
        "strength": info.plan.strength,
        "tried": len(info.choice.trials),
        "single": seconds(
            lambda: reconstruct(problem.y, problem.operator, prior="tv", strength=info.plan.strength), REPEATS
        ),
    }


def deepinv_run(problem: Problem, weight: float, inner: int) -> Callable[[float, int], np.ndarray]:
    """``(step size, iterations) -> image`` of deepinv's TV-ADMM with at most ``inner`` iterations a proximal map."""
    import deepinv
    import torch

    torch.set_num_threads(threads())
    psf = torch.from_numpy(problem.operator.psf.astype(np.float32))[None, None]
    physics = deepinv.physics.BlurFFT(img_size=(1, *problem.truth.shape), filter=psf)
    y = torch.from_numpy(problem.y)[None, None]

    def run(step: float, iterations: int) -> np.ndarray:
        model = deepinv.optim.optim_builder(
            "ADMM", prior=deepinv.optim.prior.TVPrior(n_it_max=inner),
            data_fidelity=deepinv.optim.data_fidelity.L2(), max_iter=iterations,
            params_algo={"stepsize": step, "lambda": weight}, early_stop=False,
        )  # fmt: skip
        with torch.no_grad():
            return model(y, physics)[0, 0].numpy()

    return run


def deepinv_admm(problem: Problem, weight: float) -> Iterator[dict[str, float]]:
    """For each step size the fewest iterations within ``CLOSE`` of the limit, and their time; 20 inner iterations."""
    run = deepinv_run(problem, weight, 20)
    limit = psnr(problem.truth, run(30.0, 150))
    for step in STEPS:
        scores = {n: psnr(problem.truth, run(step, n)) for n in ITERATIONS}
        # Within CLOSE of the limit, and from there on: early iterates may pass it on their way.
        good = [n for n in scores if all(abs(scores[m] - limit) <= CLOSE for m in scores if m >= n)]
        n = good[0] if good else ITERATIONS[-1]
        spent = seconds(lambda: run(step, n), 3)  # noqa: B023
        yield {"step": step, "iterations": n, "psnr": scores[n], "seconds": spent, "limit": limit, "close": bool(good)}


def main() -> None:
    problem = camera_problem()
    weight, oracle = best_weight(problem)
    mine = ours(problem)
    print(f"TV deblurring of camera 512 x 512, Gaussian sigma 2, noise 0.01; {threads()} threads")
    print(f"oracle weight {weight:.3g}: {oracle:.2f} dB at convergence")
    print(
        f"ours, all chosen: {mine['psnr']:.2f} dB in {mine['seconds']:.3f} s ({mine['tried']:.0f} strengths tried, "
        f"strength {mine['strength']:.3g}); {oracle - mine['psnr']:.3f} dB under the oracle weight, "
        f"{abs(mine['limit'] - mine['psnr']):.3f} dB from its own limit; one solve alone {mine['single']:.3f} s"
    )
    try:
        peers = list(deepinv_admm(problem, weight))
    except ImportError:
        print("deepinv is not installed: no ratio")
        return
    for p in peers:
        print(
            f"deepinv TV-ADMM, weight given, step {p['step']:g}, 20 inner: {p['iterations']:.0f} iterations, "
            f"{p['psnr']:.2f} dB ({'within' if p['close'] else 'NOT within'} {CLOSE} dB of its limit {p['limit']:.2f}) "
            f"in {p['seconds']:.2f} s: {p['seconds'] / mine['seconds']:.1f}x our call, "
            f"{p['seconds'] / mine['single']:.1f}x our single solve"
        )
    delivered = seconds(lambda: deepinv_run(problem, weight, 1000)(30.0, 10), 1)
    print(
        f"deepinv TV-ADMM, weight given, proximal map as delivered (up to 1000 inner iterations): 10 iterations take "
        f"{delivered:.1f} s: {delivered / mine['seconds']:.0f}x our call"
    )


if __name__ == "__main__":
    main()
