"""The battery of :func:`recon.check_operator` for nonlinear operators. A check is a generator of figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from recon._figures import Figure, inner, relative
from recon._operator_checks import Probe, check_pickle

ADJOINT_LIMIT = {"float32": 1e-6, "complex64": 1e-6, "float64": 1e-11, "complex128": 1e-11}
TAYLOR_STEPS = (1e-5, 5e-6)
ORDER_MISSED = 0.2  # by which the observed order of the remainder may be under two
EXACT = 0.1  # remainder over measurement that is nothing but rounding, over the limit of the adjoint error
DIFFERENCE = 1e-5  # step of the central difference


class Product(NamedTuple):
    """One of the functions of an operator, with the arrays it is tried on."""

    name: str
    function: Callable[..., Any]
    given: tuple[np.ndarray, ...]
    shape: tuple[int, ...]  # of one image or measurement
    dtype: np.dtype


@dataclass(frozen=True)
class NonlinearProbe(Probe):
    """A nonlinear operator, a dtype, and plausible arrays to feed it."""

    @property
    def adjoint_limit(self) -> float:
        own = self.operator.adjoint_tolerance or {}
        real = np.empty(0, self.dtype).real.dtype.name
        return float(own.get(self.dtype.name, own.get(real, ADJOINT_LIMIT[self.dtype.name])))

    def image(self, *batch: int) -> np.ndarray:
        """Examples of the operator, read-only so that a hidden write is seen."""
        count = math.prod(batch)
        images = np.array([self._example() for _ in range(count)]).astype(self.dtype)
        images = images.reshape(batch + self.operator.in_shape)
        images.flags.writeable = False
        return images

    def _example(self) -> np.ndarray:
        x = self.operator.example(self.rng)
        turned = np.issubdtype(self.dtype, np.complexfloating) and not np.iscomplexobj(x)
        return x + 1j * self.operator.example(self.rng) if turned else x

    def direction(self, *batch: int) -> np.ndarray:
        """What leads from one example to another."""
        d = self.image(*batch) - self.image(*batch)
        d.flags.writeable = False
        return d

    def products(self, *batch: int) -> list[Product]:
        """The forward, the adjoint of the derivative and, where it is known, the derivative."""
        F, x = self.operator, self.image(*batch)
        known = [
            Product("forward", F, (x,), F.out_shape, self.measured),
            Product("vjp", F.vjp, (x, self.measurement(*batch)), F.in_shape, self.dtype),
        ]
        if F.has_jvp:
            known.append(Product("jvp", F.jvp, (x, self.direction(*batch)), F.out_shape, self.measured))
        return known


def check_contract(p: NonlinearProbe) -> Iterator[Figure]:
    """Shape, dtype, and arguments left alone."""
    for name, function, given, shape, dtype in p.products():
        before = [array.copy() for array in given]
        first, second = function(*given), function(*given)
        wrong = first.shape != shape or first.dtype != dtype
        yield p.figure(f"{name} of another shape or dtype", float(wrong), 0.0, f"It gave {first.dtype} {first.shape}.")
        changed = not all(map(np.array_equal, before, given))
        yield p.figure(f"{name} changes an argument", float(changed), 0.0, "Start from a copy of it.")
        aliased = any(np.may_share_memory(first, array) for array in given)
        yield p.figure(f"{name} returns its argument's memory", float(aliased), 0.0, "Return a copy.")
        same = np.array_equal(first, second, equal_nan=True)
        yield p.figure(f"{name} differs on a second call", float(not same), 0.0, "Keep no state between calls.")


def check_batch(p: NonlinearProbe) -> Iterator[Figure]:
    for name, function, given, _, _ in p.products(2, 3):
        together = function(*given)
        alone = np.empty_like(together)
        for index in np.ndindex(2, 3):
            alone[index] = function(*(array[index] for array in given))
        yield p.figure(
            f"{name} of a batch", relative(together, alone), p.limit, "Treat leading axes as independent images."
        )


def check_torch(p: NonlinearProbe) -> Iterator[Figure]:
    """The torch body gives what the numpy body gives."""
    import torch

    for name, function, given, _, _ in p.products():
        tensor = function(*(torch.from_numpy(array.copy()) for array in given))
        value = relative(tensor.resolve_conj().numpy(), function(*given))
        yield p.figure(f"torch {name}", value, p.limit, "Make the torch body compute what the numpy body does.")


def check_products(p: NonlinearProbe) -> Iterator[Figure]:
    """``Re <J d, r> = Re <d, J^H r>``, also at ``r = J d``; and the derivative as an operator."""
    F = p.operator
    if not F.has_jvp:
        return
    x, d, r = p.image(), p.direction(), p.measurement()
    remedy = "vjp(x, r) is the adjoint of d -> jvp(x, d) in the real inner product."
    change = F.jvp(x, d)
    yield p.figure("jvp and vjp", _mismatch(change, r, d, F.vjp(x, r)), p.adjoint_limit, remedy)
    yield p.figure("jvp and vjp at r = J d", _mismatch(change, change, d, F.vjp(x, change)), p.adjoint_limit, remedy)
    J = F.linearize(x)
    remedy = "linearize(x) is an operator with the forward jvp(x, .) and the adjoint vjp(x, .)."
    yield p.figure("forward of linearize", relative(J(d), change), p.limit, remedy)
    yield p.figure("adjoint of linearize", relative(J.adjoint(r), F.vjp(x, r)), p.limit, remedy)


def _mismatch(change: np.ndarray, r: np.ndarray, d: np.ndarray, back: np.ndarray) -> float:
    scale = math.sqrt(abs(inner(change, change)) * abs(inner(r, r)))
    error = abs((inner(change, r) - inner(d, back)).real)
    return error / scale if scale > 0 else error


def check_taylor(p: NonlinearProbe) -> Iterator[Figure]:
    """``|F(x + t d) - F(x) - t J d|`` falls with the square of t."""
    F = p.operator
    if not F.has_jvp:
        return
    x, d = p.image(), p.direction()
    y, change = F(x), F.jvp(x, d)
    far, near = (float(np.linalg.norm((F(x + t * d) - y - t * change).reshape(-1))) for t in TAYLOR_STEPS)
    rounding = EXACT * p.adjoint_limit * float(np.linalg.norm(y.reshape(-1)))
    order = 2.0 if near <= rounding else math.log(far / near) / math.log(TAYLOR_STEPS[0] / TAYLOR_STEPS[1])
    yield p.figure(
        "order of the Taylor remainder, under two by", max(2.0 - order, 0.0), ORDER_MISSED, "jvp(x, d) is J(x) d."
    )


def check_difference(p: NonlinearProbe) -> Iterator[Figure]:
    """``Re <J(x) d, r> = Re <d, vjp(x, r)>``, the derivative by central differences."""
    if p.adjoint_limit > DIFFERENCE**2:  # computed in single precision: a difference is rounding
        return
    x, d, r = p.image(), p.direction(), p.measurement()
    change = (p.operator(x + DIFFERENCE * d) - p.operator(x - DIFFERENCE * d)) / (2 * DIFFERENCE)
    yield p.figure("vjp", _mismatch(change, r, d, p.operator.vjp(x, r)), 1e-6, "vjp(x, r) is J(x)^H r.")


def check_gradient(p: NonlinearProbe) -> Iterator[Figure]:
    """Automatic differentiation of the forward gives ``vjp``."""
    import torch

    x, r = p.image(), p.measurement()
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    (gradient,) = torch.autograd.grad(p.operator(tensor), tensor, torch.from_numpy(r.copy()))
    value = relative(gradient.resolve_conj().numpy(), p.operator.vjp(x, r))
    yield p.figure("gradient", value, p.limit, "Autograd gives vjp(x, r).")


EVERY = (check_contract, check_batch, check_torch, check_products)
IN_DOUBLE = (check_taylor, check_difference, check_gradient, check_pickle)
