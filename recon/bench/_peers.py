"""The other libraries, on the same data. Each is given the strength, and a step size chosen by hand."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.bench._trace import Trace
from recon.bench.problems import Problem
from solvers.arrays import threads

ITERATIONS = (1, 2, 4, 8, 14, 20, 30, 45, 70, 100, 150, 220, 330, 500)


@dataclass(frozen=True)
class Peer:
    """A solver of another library."""

    name: str
    package: str
    problems: tuple[str, ...]  # names of the problems it has a counterpart of
    build: Callable[[Problem, float], Callable[[int], np.ndarray]]  # -> iterations -> image
    own_model: bool = False  # whether its operator or prior differs a little from ours


def installed(problem: Problem) -> Iterator[Peer]:
    """The peers that can solve a problem here."""
    for peer in PEERS:
        if problem.name in peer.problems and all(map(importlib.util.find_spec, peer.package.split())):
            yield peer


def trace(
    peer: Peer, problem: Problem, strength: float, judge: Callable[[Any], tuple[float, float]], budget: float
) -> Trace:
    """Whole runs of more and more iterations, until the time is spent or nothing changes any more."""
    from recon.bench.report import OWN_LIMIT

    found = Trace(peer.name, note=OWN_LIMIT if peer.own_model else "")
    try:
        run = peer.build(problem, strength)
        begin = time.perf_counter()
        run(1)
        found.first_call = time.perf_counter() - begin
        spent = 0.0
        for k in ITERATIONS:
            begin = time.perf_counter()
            image = run(k)
            seconds = time.perf_counter() - begin
            spent += seconds
            objective, decibels = judge(image)
            found.look(k, seconds, 0, math.nan if peer.own_model else objective, decibels)
            if spent > 3 * budget:
                break
    except Exception as error:  # what a foreign library raises is its own affair; the benchmark goes on
        found.note = f"failed: {type(error).__name__}: {str(error)[:60]}"
    return found


def _deepinv_deblur(problem: Problem, strength: float) -> Callable[[int], np.ndarray]:
    import deepinv
    import torch

    torch.set_num_threads(threads())
    psf = torch.from_numpy(problem.operator.psf.astype(np.float32))[None, None]
    physics = deepinv.physics.BlurFFT(img_size=(1, *problem.operator.in_shape), filter=psf)
    y = torch.from_numpy(problem.y)[None, None]

    def run(iterations: int) -> np.ndarray:
        model = deepinv.optim.optim_builder(
            "ADMM", prior=deepinv.optim.prior.TVPrior(n_it_max=20), data_fidelity=deepinv.optim.data_fidelity.L2(),
            max_iter=iterations, params_algo={"stepsize": 100.0, "lambda": strength}, early_stop=False,
        )  # fmt: skip
        with torch.no_grad():
            return model(y, physics)[0, 0].numpy()

    return run


def _gradient(shape: tuple[int, ...]) -> Any:
    import pylops

    return pylops.Gradient(dims=shape, kind="forward", edge=True, dtype=np.float32)


def _pyproximal_deblur(problem: Problem, strength: float) -> Callable[[int], np.ndarray]:
    """Linearised ADMM of PyProximal on PyLops operators."""
    import pylops
    import pyproximal

    shape = problem.operator.in_shape
    kernel = problem.operator.psf.astype(np.float32)
    blur = pylops.signalprocessing.ConvolveND(
        shape, h=kernel, offset=tuple(k // 2 for k in kernel.shape), axes=(0, 1), method="fft", dtype=np.float32
    )
    return _pyproximal(
        pyproximal.proximal.L2(Op=blur, b=problem.y.ravel(), niter=10, warm=True), shape, strength, problem
    )


def _pyproximal(data: Any, shape: tuple[int, ...], strength: float, problem: Problem) -> Callable[[int], np.ndarray]:
    import pyproximal

    gradient = _gradient(shape)
    prior = pyproximal.proximal.L21(ndim=2, sigma=strength)
    step = 0.99 / 8

    def run(iterations: int) -> np.ndarray:
        tau = 20.0  # step of the data term, by hand
        image = pyproximal.optimization.primal.LinearizedADMM(
            data, prior, gradient, tau=tau, mu=step * tau, x0=np.zeros(math.prod(shape), np.float32), niter=iterations
        )[0]
        return np.asarray(image, np.float32).reshape(shape)

    return run


def _pylops_ct(problem: Problem, strength: float) -> Callable[[int], np.ndarray]:
    """ASTRA's projector on the CPU as a PyLops operator, PyProximal's primal-dual."""
    import astra
    import pylops
    import pyproximal

    operator = problem.operator
    size = operator.in_shape[0]
    volume = astra.create_vol_geom(size, size)
    views = astra.create_proj_geom(
        "parallel", operator.detector_spacing / operator.spacing, operator.detectors, operator.angles
    )
    projector = astra.OpTomo(astra.create_projector("linear", views, volume))
    length = np.float32(operator.spacing)
    forward = pylops.FunctionOperator(
        lambda x: length * projector.matvec(x.astype(np.float32)),
        lambda y: length * projector.rmatvec(y.astype(np.float32)),
        projector.shape[0], projector.shape[1], dtype=np.float32,
    )  # fmt: skip
    data = pyproximal.proximal.L2(Op=forward, b=problem.y.ravel(), niter=5, warm=True)
    gradient = _gradient(operator.in_shape)
    tau = 1.0

    def run(iterations: int) -> np.ndarray:
        image = pyproximal.optimization.primaldual.PrimalDual(
            data, pyproximal.proximal.L21(ndim=2, sigma=strength), gradient, tau=tau, mu=0.99 / (8 * tau), theta=1.0,
            x0=np.zeros(size * size, np.float32), niter=iterations,
        )  # fmt: skip
        return np.asarray(image, np.float32).reshape(operator.in_shape)

    return run


def _deepinv_ct(problem: Problem, strength: float) -> Callable[[int], np.ndarray]:
    import deepinv
    import torch

    torch.set_num_threads(threads())
    size = problem.operator.in_shape[0]
    physics = deepinv.physics.Tomography(
        angles=torch.from_numpy(np.rad2deg(problem.operator.angles)).float(), img_width=size, circle=False,
        normalize=True,
    )  # fmt: skip
    y = physics.A(torch.from_numpy(problem.truth)[None, None])
    noise = np.random.default_rng(0).standard_normal(tuple(y.shape)).astype(np.float32)
    ratio = float(y.norm()) / float(np.linalg.norm(problem.y))
    y = y + ratio * float(problem.noise) * torch.from_numpy(noise)
    weight = strength * ratio**2

    def run(iterations: int) -> np.ndarray:
        model = deepinv.optim.optim_builder(
            "FISTA", prior=deepinv.optim.prior.TVPrior(n_it_max=20), data_fidelity=deepinv.optim.data_fidelity.L2(),
            max_iter=iterations, params_algo={"stepsize": 1.0, "lambda": weight, "a": 3}, early_stop=False,
        )  # fmt: skip
        with torch.no_grad():
            return model(y, physics)[0, 0].numpy()

    return run


def _sigpy_wavelet(problem: Problem, strength: float) -> Callable[[int], np.ndarray]:
    import sigpy
    import sigpy.mri

    operator = problem.operator

    def run(iterations: int) -> np.ndarray:
        app = sigpy.mri.app.L1WaveletRecon(
            problem.y, operator.coils, strength, weights=operator.mask.astype(np.float32), wave_name="db4",
            max_iter=iterations, show_pbar=False,
        )  # fmt: skip
        return np.asarray(app.run())

    return run


PEERS = (
    Peer("deepinv ADMM", "deepinv", ("deblur",), _deepinv_deblur),
    Peer("PyProximal linearised ADMM", "pyproximal pylops", ("deblur",), _pyproximal_deblur),
    Peer("deepinv FISTA", "deepinv", ("ct-sparse",), _deepinv_ct, own_model=True),
    Peer("PyLops + ASTRA primal-dual", "pyproximal pylops astra", ("ct-sparse",), _pylops_ct),
    Peer("SigPy wavelets", "sigpy", ("mri-coils",), _sigpy_wavelet, own_model=True),
)
