"""Total variation with PyProximal on PyLops operators, for :mod:`recon.bench._peers`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon.bench._peer_run import PeerRun
from recon.bench.problems import Problem

Solver = Callable[[Any, np.ndarray, tuple[int, ...], float, int], np.ndarray]
GRADIENT = 8.0  # bound of the squared norm of the differences along two axes


def deblur(problem: Problem, strength: float, *, solver: Solver) -> PeerRun:
    """Deblurring by Fourier transforms, as the blur is periodic."""
    import pylops
    import scipy.fft

    shape, psf = problem.operator.in_shape, problem.operator.psf
    kernel = np.zeros(shape)
    kernel[tuple(slice(n) for n in psf.shape)] = psf
    spectrum = scipy.fft.rfft2(np.roll(kernel, [-(n // 2) for n in psf.shape], (0, 1)))

    def filtered(response: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        exact, single = response, response.astype(np.complex64)

        def apply(x: np.ndarray) -> np.ndarray:
            factor = exact if x.dtype == np.float64 else single
            return scipy.fft.irfft2(scipy.fft.rfft2(x.reshape(shape)) * factor, s=shape).ravel()

        return apply

    size = math.prod(shape)
    blur = pylops.FunctionOperator(
        filtered(spectrum), filtered(spectrum.conj()), size, size, dtype=np.float32, name="blur"
    )
    return _peer_run(problem, strength, blur, solver)


def tomography(problem: Problem, strength: float, *, solver: Solver) -> PeerRun:
    """ASTRA's projector on the CPU, the interpolating one, which sums as ours does."""
    import pylops

    operator = problem.operator
    projector = pylops.medical.CT2D(
        operator.in_shape, operator.detector_spacing / operator.spacing, operator.detectors, operator.angles,
        engine="cpu", projector_type="linear",
    )  # fmt: skip
    length = np.float32(operator.spacing)
    scaled = pylops.FunctionOperator(
        lambda x: length * projector.matvec(x.astype(np.float32)),
        lambda y: length * projector.rmatvec(y.astype(np.float32)),
        *projector.shape, dtype=np.float32,
    )  # fmt: skip
    return _peer_run(problem, strength, scaled, solver)


def primal_dual(tau: float, inner: int = 10) -> Solver:
    """Chambolle-Pock; the data's proximal map is ``inner`` steps of LSQR."""

    def solve(A: Any, y: np.ndarray, shape: tuple[int, ...], strength: float, iterations: int) -> np.ndarray:
        import pyproximal

        return pyproximal.optimization.primaldual.PrimalDual(
            pyproximal.proximal.L2(Op=A, b=y, niter=inner, warm=True), pyproximal.proximal.L21(ndim=2, sigma=strength),
            _gradient(shape), tau=tau, mu=0.8 / (tau * GRADIENT), x0=np.zeros(A.shape[1], np.float32), niter=iterations,
        )  # fmt: skip

    return solve


def admm(tau: float, inner: int) -> Solver:
    """ADMM for least squares; the linear system is solved by ``inner`` steps of LSQR."""

    def solve(A: Any, y: np.ndarray, shape: tuple[int, ...], strength: float, iterations: int) -> np.ndarray:
        import pyproximal

        return pyproximal.optimization.primal.ADMML2(
            pyproximal.proximal.L21(ndim=2, sigma=strength), A, y, _gradient(shape),
            x0=np.zeros(A.shape[1], np.float32), tau=tau, niter=iterations, iter_lim=inner,
        )[0]  # fmt: skip

    return solve


def fista(step: float, inner: int) -> Solver:
    """Accelerated proximal gradient; the proximal map takes ``inner`` steps."""

    def solve(A: Any, y: np.ndarray, shape: tuple[int, ...], strength: float, iterations: int) -> np.ndarray:
        import pyproximal

        return pyproximal.optimization.primal.ProximalGradient(
            pyproximal.proximal.L2(Op=A, b=y), pyproximal.TV(dims=shape, sigma=strength, niter=inner),
            x0=np.zeros(A.shape[1], np.float32), tau=step, niter=iterations, acceleration="fista",
        )  # fmt: skip

    return solve


def _gradient(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    import pylops

    return pylops.Gradient(dims=shape, kind="forward", edge=True, dtype=dtype)


def _peer_run(problem: Problem, strength: float, A: Any, solver: Solver) -> PeerRun:
    import pyproximal

    shape = problem.operator.in_shape

    def run(iterations: int) -> np.ndarray:
        image = solver(A, problem.y.ravel(), shape, strength, iterations)
        return np.asarray(image, np.float32).reshape(shape)

    def objective(image: np.ndarray) -> float:
        x = image.ravel().astype(np.float64)
        data = pyproximal.proximal.L2(Op=A, b=problem.y.ravel().astype(np.float64))
        prior = pyproximal.proximal.L21(ndim=2, sigma=strength)
        return float(data(x)) + float(prior(_gradient(shape, np.float64) @ x))

    return PeerRun(run, objective)
