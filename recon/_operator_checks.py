"""The battery behind :func:`recon.check_operator`. A check is a generator of figures; adding one is one function."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon._figures import Figure, inner, random_array, relative

ADJOINT_LIMIT = {"float32": 1e-6, "complex64": 1e-6, "float64": 1e-12, "complex128": 1e-12}
ROUNDING = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-11, "complex128": 1e-11}
LARGEST_SPECTRUM = 20_000  # unknowns up to which the norm is compared with a converged eigenvalue


@dataclass(frozen=True)
class Probe:
    """An operator, a dtype and random arrays to feed it."""

    operator: Any
    dtype: np.dtype
    rng: np.random.Generator

    def image(self, *batch: int) -> np.ndarray:
        return random_array(self.rng, batch + self.operator.in_shape, self.dtype)

    def measurement(self, *batch: int) -> np.ndarray:
        return random_array(self.rng, batch + self.operator.out_shape, self.measured)

    @property
    def measured(self) -> np.dtype:
        """The dtype of the measurement."""
        empty = np.empty(0, self.dtype)
        names = {"real": empty.real.dtype, "complex": np.result_type(empty, np.complex64)}
        return np.dtype(names.get(self.operator.out_kind or "any", self.dtype))

    def directions(self, *batch: int) -> list[tuple[str, Any, np.ndarray, tuple[int, ...], np.dtype]]:
        """Forward and adjoint: name, function, a random argument, the shape and the dtype expected back."""
        operator = self.operator
        return [
            ("forward", operator, self.image(*batch), operator.out_shape, self.measured),
            ("adjoint", operator.adjoint, self.measurement(*batch), operator.in_shape, self.dtype),
        ]

    @property
    def limit(self) -> float:
        return max(ROUNDING[self.dtype.name], 10 * self.adjoint_limit)

    @property
    def adjoint_limit(self) -> float:
        own = getattr(self.operator, "adjoint_tolerance", None) or {}
        real = np.empty(0, self.dtype).real.dtype.name
        return float(own.get(self.dtype.name, own.get(real, ADJOINT_LIMIT[self.dtype.name])))

    def figure(self, name: str, value: float, limit: float, remedy: str) -> Figure:
        return Figure(f"{name}, {self.dtype.name}", value, limit, remedy)


def adjoint_error(operator: Any, x: np.ndarray, y: np.ndarray) -> float:
    """``|<A x, y> - <x, A^H y>| / (|A x| |y|)`` in double precision."""
    forward = operator(x)
    scale = math.sqrt(abs(inner(forward, forward)) * abs(inner(y, y)))
    error = abs(_difference(operator, inner(forward, y), inner(x, operator.adjoint(y))))
    return error / scale if scale > 0 else error


def _difference(operator: Any, left: complex, right: complex) -> complex:
    """Of two inner products, the real ones where only one side of the operator is complex."""
    return left - right if operator.out_kind is None else (left - right).real


def check_adjoint(p: Probe) -> Iterator[Figure]:
    remedy = "The adjoint is not the conjugate transpose of the forward: write it as the same loop, scattering."
    value = adjoint_error(p.operator, p.image(), p.measurement())
    yield p.figure("adjoint error", value, p.adjoint_limit, remedy)
    # Independent probes have an inner product near zero and hide a wrong scale; y = A x does not.
    x = p.image()
    yield p.figure("adjoint error at y = A x", adjoint_error(p.operator, x, p.operator(x)), p.adjoint_limit, remedy)


def check_linearity(p: Probe) -> Iterator[Figure]:
    a, b = p.image(), p.image()
    # With real measurements of complex images, sums and real factors are all there is.
    scale = 1.5j if np.iscomplexobj(a) and p.operator.out_kind is None else -1.5
    value = relative(p.operator(a + scale * b), p.operator(a) + scale * p.operator(b))
    yield p.figure("linearity", value, p.limit, "The forward is not linear: look for offsets, clipping or abs().")


def check_contract(p: Probe) -> Iterator[Figure]:
    """Shape, dtype, and an input left alone."""
    for name, apply, given, shape, dtype in p.directions():
        before = given.copy()
        first, second = apply(given), apply(given)
        wrong = first.shape != shape or first.dtype != dtype
        yield p.figure(f"{name} of another shape or dtype", float(wrong), 0.0, f"It gave {first.dtype} {first.shape}.")
        yield p.figure(
            f"{name} changes its input", float(not np.array_equal(before, given)), 0.0, "Start from a copy of it."
        )
        aliased = np.may_share_memory(first, given)
        yield p.figure(f"{name} returns its input's memory", float(aliased), 0.0, "Return a copy.")
        same = np.array_equal(first, second, equal_nan=True)
        yield p.figure(
            f"{name} differs on a second call", float(not same), 0.0, "Keep no state between calls; add in one order."
        )


def check_batch(p: Probe) -> Iterator[Figure]:
    for name, apply, batch, *_ in p.directions(2, 3):
        together = apply(batch)
        alone = np.stack([np.stack([apply(item) for item in row]) for row in batch])
        yield p.figure(
            f"{name} of a batch", relative(together, alone), p.limit, "Treat leading axes as independent images."
        )


def check_gram(p: Probe) -> Iterator[Figure]:
    x = p.image()
    value = relative(p.operator.gram(x), p.operator.adjoint(p.operator(x)))
    yield p.figure("gram", value, p.limit, "gram(x) is adjoint(operator(x)).")


def check_torch(p: Probe) -> Iterator[Figure]:
    """The torch body gives what the numpy body gives."""
    import torch

    for name, apply, given, *_ in p.directions():
        tensor = apply(torch.from_numpy(given.copy()))
        value = relative(tensor.numpy(), apply(given))
        yield p.figure(f"torch {name}", value, p.limit, "Make the torch body compute what the numpy body does.")


def check_gradient(p: Probe) -> Iterator[Figure]:
    """``d <A x, r> = A^H r``, by autograd, and the same backwards."""
    import torch

    for name, apply, x, r in (
        ("forward", p.operator, p.image(), p.measurement()),
        ("adjoint", p.operator.adjoint, p.measurement(), p.image()),
    ):
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        (gradient,) = torch.autograd.grad(apply(tensor), tensor, torch.from_numpy(r.copy()))
        direction = random_array(p.rng, x.shape, x.dtype)
        change = apply(direction)
        scale = math.sqrt(abs(inner(change, change)) * abs(inner(r, r))) or 1.0
        value = abs(_difference(p.operator, inner(change, r), inner(direction, gradient.numpy()))) / scale
        yield p.figure(
            f"gradient of the {name}", value, p.adjoint_limit, "Keep to torch functions, or torch_body=False."
        )


def check_norm(p: Probe) -> Iterator[Figure]:
    bound, true = p.operator.norm(), largest_singular_value(p)
    remedy = "norm() is an upper bound of the largest singular value, at most 2 % over it."
    yield Figure(
        "norm under the largest singular value by", max(1.0 - bound / true, 0.0) if true else 0.0, 1e-9, remedy
    )
    if math.prod(p.operator.in_shape) <= LARGEST_SPECTRUM:
        over = max(bound / true - 1.0, 0.0) if true else bound
        yield Figure("norm over the largest singular value by", over, 0.02 + 1e-9, remedy)


def largest_singular_value(p: Probe) -> float:
    """Largest singular value: of the dense matrix if small, by Lanczos to convergence, or from below if large."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    shape, n = p.operator.in_shape, math.prod(p.operator.in_shape)
    if n <= 64:
        return float(np.linalg.norm(dense(p.operator, p.dtype), 2))
    start = p.image().reshape(-1)
    start = start if p.operator.out_kind is None else start.view(start.real.dtype)

    def gram(v: np.ndarray) -> np.ndarray:
        image = np.ascontiguousarray(v, dtype=start.dtype).view(p.dtype).reshape(shape)
        return p.operator.gram(image).reshape(-1).view(start.dtype)

    if n > LARGEST_SPECTRUM:
        for _ in range(15):
            start = gram(start) / np.linalg.norm(start)
        return math.sqrt(float(np.linalg.norm(gram(start)) / np.linalg.norm(start)))
    system = LinearOperator((start.size, start.size), matvec=gram, dtype=start.dtype)
    return math.sqrt(max(float(eigsh(system, k=1, v0=start, tol=1e-5, return_eigenvectors=False)[0]), 0.0))


def dense(operator: Any, dtype: Any = np.float64) -> np.ndarray:
    """The matrix of an operator, of shape (m, n); of real and imaginary parts where one side only is complex."""
    n, mixed = math.prod(operator.in_shape), operator.out_kind is not None
    images = np.eye(n, dtype=dtype).reshape(n, *operator.in_shape)
    if mixed and np.iscomplexobj(images):
        images = np.concatenate([images, 1j * images])
    columns = operator(images).reshape(len(images), -1)
    return (columns.view(columns.real.dtype) if mixed else columns).T


def check_closed_forms(p: Probe) -> Iterator[Figure]:
    operator, x, limit = p.operator, p.image(), 1e-10
    rho = 0.1 * operator.norm() ** 2 or 1.0
    if operator.has_solve_shifted:
        z = operator.solve_shifted(x, rho)
        value = relative(operator.gram(z) + rho * z, x)
        yield p.figure("solve_shifted", value, limit, "It solves (A^H A + rho I) z = b.")
    axes = tuple(range(-len(operator.in_shape), 0))
    for name, spectrum, apply in (
        ("transfer", operator.transfer(), operator),
        ("fourier_gram", operator.fourier_gram(), operator.gram),
    ):
        if spectrum is not None:
            filtered = np.fft.ifftn(np.fft.fftn(x, axes=axes) * spectrum, axes=axes)
            value = relative(filtered, apply(x).astype(filtered.dtype))
            yield p.figure(name, value, limit, "It holds the eigenvalues over the frequencies, in FFT order.")
    response = operator.impulse_response()
    if response is not None:
        centre = tuple(n // 2 for n in operator.in_shape)
        impulse = np.zeros(operator.in_shape, x.dtype)
        impulse[centre] = 1
        value = relative(np.roll(response, centre, axes), operator.gram(impulse))
        yield p.figure("impulse_response", value, limit, "It is A^H A of an impulse at n // 2, moved to the origin.")
    diagonal = operator.diagonal_gram()
    if diagonal is not None:
        yield p.figure("diagonal_gram", relative(diagonal * x, operator.gram(x)), limit, "It is the diagonal of A^H A.")


def check_factors(p: Probe) -> Iterator[Figure]:
    pair = p.operator.factors()
    if pair is None:
        return
    outer, within = pair
    x = p.image()
    yield p.figure("factors", relative(outer(within(x)), p.operator(x)), 1e-10, "A x is outer(inner(x)).")
    unknown = not outer.has_solve_shifted or within.fourier_gram() is None
    yield p.figure(
        "factors without closed form", float(unknown), 0.0, "outer needs solve_shifted, inner a fourier_gram."
    )


def check_sampling(p: Probe) -> Iterator[Figure]:
    if p.operator.sampling is None:
        return
    unmeasured = ~np.broadcast_to(p.operator.sampling, p.operator.out_shape)
    y = p.measurement()
    leak = np.abs(p.operator(p.image())[unmeasured]).sum()
    ignored = relative(p.operator.adjoint(np.where(unmeasured, 0, y)), p.operator.adjoint(y))
    yield p.figure("unmeasured samples not zero", float(leak), 0.0, "The forward is zero where sampling is False.")
    yield p.figure("unmeasured samples used", ignored, p.limit, "The adjoint ignores y where sampling is False.")


def check_sign(p: Probe) -> Iterator[Figure]:
    if p.operator.nonnegative:
        lowest = min(
            float(p.operator(np.abs(p.image()).astype(p.dtype)).real.min()),
            float(p.operator.adjoint(np.abs(p.measurement()).astype(p.measured)).real.min()),
        )
        yield p.figure("negative entries", max(-lowest, 0.0), 0.0, "Set nonnegative = False.")


def check_pickle(p: Probe) -> Iterator[Figure]:
    x = p.image()
    try:
        copy = pickle.loads(pickle.dumps(p.operator))
    except Exception as error:
        # A pair of lambdas reconstructs well; it only cannot be sent to a worker. Reported, not refused.
        yield Figure("does not pickle", 1.0, 1.0, f"{error}. Use functions defined at the top of a module.")
        return
    same = np.array_equal(copy(x), p.operator(x), equal_nan=True)
    yield Figure("pickled copy differs", float(not same), 0.0, "Keep all that matters in attributes.")


LINEAR = (check_adjoint, check_linearity, check_contract, check_batch, check_gram, check_torch, check_sampling)
LINEAR_IN_DOUBLE = (check_gradient, check_norm, check_closed_forms, check_factors, check_sign, check_pickle)
