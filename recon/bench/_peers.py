"""The other libraries, on the same data. Each is given the strength: as its examples set it up, and tuned by hand."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from recon.bench import _peer_deepinv, _peer_pyproximal, _peer_sigpy
from recon.bench._peer_run import PeerRun
from recon.bench._trace import Trace
from recon.bench.problems import Problem

ITERATIONS = (1, 2, 4, 8, 14, 20, 30, 45, 70, 100, 150, 220, 330, 500)


@dataclass(frozen=True)
class Peer:
    """A solver of another library."""

    name: str
    packages: tuple[str, ...]
    problems: tuple[str, ...]  # names of the problems it has a counterpart of
    build: Callable[[Problem, float], PeerRun]
    own_model: bool = False  # whether its operator or prior differs a little from ours
    first: int = 1  # iterations below which there is nothing to see, and time to be lost

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.packages if not importlib.util.find_spec(package)]


def installed(problem: Problem) -> Iterator[Peer]:
    """The peers that can solve a problem here."""
    for peer in PEERS:
        if problem.name in peer.problems and not peer.missing:
            yield peer


def trace(
    peer: Peer, problem: Problem, strength: float, judge: Callable[[Any], tuple[float, float]], budget: float
) -> Trace:
    """Whole runs of more and more iterations, until the time is spent or nothing changes any more."""
    from recon.bench.report import OWN_LIMIT

    found = Trace(peer.name, note=OWN_LIMIT if peer.own_model else "")

    def ours(image: np.ndarray) -> tuple[float, float]:
        objective, decibels = judge(image)
        return math.nan if peer.own_model else objective, decibels

    try:
        run_longer(found, peer.build(problem, strength).run, ours, 3 * budget, first=peer.first)
    except Exception as error:  # what a foreign library raises is its own affair; the benchmark goes on
        found.note = f"failed: {type(error).__name__}: {str(error)[:60]}"
    return found


def run_longer(
    found: Trace,
    run: Callable[[int], np.ndarray],
    judge: Callable[[Any], tuple[float, float]],
    budget: float,
    done: Callable[[Trace], bool] = lambda found: False,
    *,
    first: int = 1,
) -> None:
    """Look at whole runs of more and more iterations, after a first one for compilation."""
    begin = time.perf_counter()
    run(1)
    found.first_call = time.perf_counter() - begin
    spent = 0.0
    for k in (k for k in ITERATIONS if k >= first):
        begin = time.perf_counter()
        image = run(k)
        seconds = time.perf_counter() - begin
        spent += seconds
        found.look(k, seconds, 0, *judge(image))
        if spent > budget or done(found):
            break


_DEEPINV, _PROXIMAL, _SIGPY = ("deepinv",), ("pyproximal", "pylops"), ("sigpy",)
_DEBLUR, _CT, _COILS, _HAAR = ("deblur",), ("ct-sparse",), ("mri-coils",), ("mri-coils-haar",)
EXAMPLE = "as in its examples"

PEERS = (
    Peer(f"deepinv PGD, {EXAMPLE}", _DEEPINV, _DEBLUR, partial(_peer_deepinv.deblur, solver="PGD", step=1.0)),
    Peer("deepinv ADMM", _DEEPINV, _DEBLUR, partial(_peer_deepinv.deblur, solver="ADMM", step=100.0), first=14),
    Peer(
        f"PyProximal primal-dual, {EXAMPLE}", _PROXIMAL, _DEBLUR,
        partial(_peer_pyproximal.deblur, solver=_peer_pyproximal.primal_dual(0.4)),
    ),
    Peer(
        "PyProximal ADMM", _PROXIMAL, _DEBLUR,
        partial(_peer_pyproximal.deblur, solver=_peer_pyproximal.admm(100.0, 5)),
    ),
    Peer(
        f"deepinv FISTA, {EXAMPLE}", _DEEPINV, _CT, partial(_peer_deepinv.tomography, solver="FISTA", step=1.0),
        own_model=True, first=20,
    ),
    Peer(
        "our projector in deepinv ADMM", _DEEPINV, _CT,
        partial(_peer_deepinv.with_our_projector, solver="ADMM", step=1000.0), first=14,
    ),
    Peer(
        f"PyLops + ASTRA primal-dual, {EXAMPLE}", (*_PROXIMAL, "astra"), _CT,
        partial(_peer_pyproximal.tomography, solver=_peer_pyproximal.primal_dual(0.4)), first=20,
    ),
    Peer(
        "PyLops + ASTRA FISTA", (*_PROXIMAL, "astra"), _CT,
        partial(_peer_pyproximal.tomography, solver=_peer_pyproximal.fista(4.3, 10)), first=45,
    ),
    Peer("SigPy L1WaveletRecon", _SIGPY, _COILS, _peer_sigpy.as_delivered, own_model=True),
    Peer(f"SigPy FISTA, step {EXAMPLE}", _SIGPY, _HAAR, _peer_sigpy.fista),
    Peer("SigPy FISTA", _SIGPY, _HAAR, partial(_peer_sigpy.fista, step=1.0)),
)  # fmt: skip
