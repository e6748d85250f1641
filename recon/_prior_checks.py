"""The battery behind :func:`recon.check_prior`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon._figures import Figure, inner, random_array, relative
from solvers import arrays

STEPS = (0.05, 0.5, 3.0)  # of the proximal map, for images of unit variance


@dataclass(frozen=True)
class Trial:
    """A prior and what to hold it to."""

    prior: Any
    shape: tuple[int, ...]
    rng: np.random.Generator
    convex: bool
    tolerance: float

    def image(self, *batch: int, dtype: Any = np.float64) -> np.ndarray:
        return random_array(self.rng, batch + self.shape, dtype)

    def value(self, x: np.ndarray) -> float:
        return arrays.to_float(self.prior.value(x))

    def objective(self, x: np.ndarray, v: np.ndarray, step: float) -> float:
        return step * self.value(x) + 0.5 * arrays.dot(x - v, x - v)


def check_minimiser(t: Trial) -> Iterator[Figure]:
    """No point tried has a smaller objective than the proximal map's."""
    for step in STEPS:
        v = t.image()
        p = t.prior.prox(v, step)
        reached = t.objective(p, v, step)
        if not math.isfinite(reached):
            yield Figure(f"prox at step {step} is not allowed", reached, 0.0, "It returns a point where g is infinite.")
            continue
        rivals = [v, np.zeros_like(v)]
        rivals += [p + s * (v - p) for s in (-0.5, -0.1, -0.01, 0.01, 0.1, 0.5)]
        rivals += [p + size * t.image() for size in (1e-3, 1e-2, 1e-1) for _ in range(3)]
        best = min(t.objective(rival, v, step) for rival in rivals)
        scale = 0.5 * arrays.dot(v, v)
        remedy = "prox(v, step) minimises step * value(x) + 1/2 |x - v|^2: check the factor of step."
        yield Figure(f"prox at step {step} beaten by", (reached - best) / scale, t.tolerance, remedy)


def check_nonexpansive(t: Trial) -> Iterator[Figure]:
    """``|prox a - prox b|^2 <= <prox a - prox b, a - b>``."""
    if not t.convex:
        return
    for step in STEPS:
        a, b = t.image(), t.image()
        moved, apart = t.prior.prox(a, step) - t.prior.prox(b, step), a - b
        excess = (inner(moved, moved) - inner(moved, apart)).real / inner(apart, apart).real
        yield Figure(
            f"prox at step {step} expands by", excess, t.tolerance, "It is not the proximal map of a convex function."
        )


def check_contract(t: Trial) -> Iterator[Figure]:
    """dtype and shape kept, input left alone, same bits twice."""
    for dtype in (np.float32, np.float64):
        v = t.image(dtype=dtype)
        before = v.copy()
        first, second = t.prior.prox(v, 0.5), t.prior.prox(v, 0.5)
        name = np.dtype(dtype).name
        wrong = first.dtype != dtype or first.shape != v.shape
        yield Figure(f"prox of another shape or dtype, {name}", float(wrong), 0.0, f"It gave {first.dtype}.")
        changed = not np.array_equal(before, v)
        yield Figure(f"prox changes its input, {name}", float(changed), 0.0, "Write to a fresh array.")
        same = np.array_equal(first, second)
        yield Figure(f"prox differs on a second call, {name}", float(not same), 0.0, "Keep no state between calls.")


def check_batch(t: Trial) -> Iterator[Figure]:
    v = t.image(3)
    alone = np.stack([t.prior.prox(item, 0.5) for item in v])
    remedy = "Treat leading axes as independent images."
    yield Figure("prox of a batch", relative(t.prior.prox(v, 0.5), alone), t.tolerance, remedy)
    p = t.prior.prox(v, 0.5)
    total = sum(t.value(item) for item in p)
    yield Figure("value of a batch", abs(t.value(p) - total) / (abs(total) or 1.0), 1e-9, "Add up the batch.")


def check_torch(t: Trial) -> Iterator[Figure]:
    import torch

    v = t.image()
    tensor = torch.from_numpy(v.copy())
    expected = t.prior.prox(v, 0.5)
    value = relative(arrays.to_numpy(t.prior.prox(tensor, 0.5)), expected)
    yield Figure("torch prox", value, t.tolerance, "Make the torch body compute what the numpy body does.")
    gap = abs(arrays.to_float(t.prior.value(torch.from_numpy(expected.copy()))) - t.value(expected))
    yield Figure("torch value", gap / (abs(t.value(expected)) or 1.0), 1e-9, "Make both bodies compute the same.")


def check_terms(t: Trial) -> Iterator[Figure]:
    if not hasattr(t.prior, "terms"):
        return
    x = t.prior.prox(t.image(), 0.5)
    terms = sum(arrays.to_float(term.function.value(term.apply(x))) for term in t.prior.terms())
    value = abs(terms - t.value(x)) / (abs(t.value(x)) or 1.0)
    yield Figure("terms do not add up to value", value, 1e-9, "value(x) is the sum of function.value(operator(x)).")
    for i, term in enumerate(t.prior.terms()):
        yield from _check_term(t, i, term, x)


def _check_term(t: Trial, i: int, term: Any, x: np.ndarray) -> Iterator[Figure]:
    """The operator of a term has the adjoint, norm and spectrum it claims."""
    if term.operator is None:
        return
    forward = term.apply(x)
    z = random_array(t.rng, forward.shape, forward.dtype)
    scale = math.sqrt(abs(inner(forward, forward) * inner(z, z))) or 1.0
    error = abs(inner(forward, z) - inner(x, term.adjoint(z))) / scale
    yield Figure(f"adjoint error of term {i}", error, 1e-12, "The adjoint is not that of the forward.")
    size = math.sqrt(abs(inner(x, x))) or 1.0
    excess = math.sqrt(abs(inner(forward, forward))) / size - term.norm()
    yield Figure(f"norm of term {i} exceeded by", excess, 1e-9, "norm() is an upper bound of |K|.")
    spectrum = term.fourier_gram(tuple(x.shape))
    if spectrum is not None:
        axes = tuple(range(-np.ndim(spectrum), 0))
        filtered = np.fft.ifftn(np.fft.fftn(x, axes=axes) * spectrum, axes=axes).real
        remedy = "fourier_gram(shape) holds the eigenvalues of K^H K in FFT order."
        yield Figure(f"spectrum of term {i}", relative(filtered, term.adjoint(forward)), 1e-10, remedy)


def check_pickle(t: Trial) -> Iterator[Figure]:
    v = t.image()
    copied = pickle.loads(pickle.dumps(t.prior)).prox(v, 0.5)
    same = np.array_equal(copied, t.prior.prox(v, 0.5))
    yield Figure("pickled copy differs", float(not same), 0.0, "Keep all that matters in attributes.")


CHECKS = (
    check_minimiser, check_nonexpansive, check_contract, check_batch, check_torch, check_terms, check_pickle,
)  # fmt: skip
