"""Wavelet sparsity with SigPy, for :mod:`recon.bench._peers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.bench._peer_run import PeerRun
from recon.bench.problems import Problem


def as_delivered(problem: Problem, strength: float) -> PeerRun:
    """Its application: an image that is zero beyond its borders, and the coarsest scale is shrunk as well."""
    import sigpy.mri

    app: Any = sigpy.mri.app.L1WaveletRecon

    def build(iterations: int) -> Any:
        operator = problem.operator
        return app(
            problem.y, operator.coils, strength, weights=operator.mask.astype(np.float32), max_iter=iterations,
            show_pbar=False,
        )  # fmt: skip

    def objective(image: np.ndarray) -> float:
        found = build(1)
        found.x = image.astype(np.complex64)
        return float(found.objective())

    def run(iterations: int) -> np.ndarray:
        return np.asarray(build(iterations).run())

    return PeerRun(run, objective, lambda: run(300))


def fista(problem: Problem, strength: float, *, step: float | None = None) -> PeerRun:
    """Our objective, for Haar wavelets: these need no image beyond the borders, and the coarsest number is kept.

    Without ``step`` it finds one by its power iteration.
    """
    import sigpy.mri

    sense = sigpy.mri.linop.Sense(problem.operator.coils, weights=problem.operator.mask.astype(np.float32))
    wavelet = sigpy.linop.Wavelet(problem.operator.in_shape, wave_name="haar")
    weights = np.full(wavelet.oshape, strength, np.float32)
    weights[0, 0] = 0.0
    prox = sigpy.prox.UnitaryTransform(sigpy.prox.L1Reg(wavelet.oshape, weights), wavelet)

    def run(iterations: int) -> np.ndarray:
        app = sigpy.app.LinearLeastSquares(
            sense, problem.y, proxg=prox, max_iter=iterations, alpha=step, show_pbar=False
        )
        return np.asarray(app.run())

    def objective(image: np.ndarray) -> float:
        x = image.astype(np.complex128)
        return float(0.5 * np.sum(np.abs(sense(x) - problem.y) ** 2) + np.sum(weights * np.abs(wavelet(x))))

    return PeerRun(run, objective)
