"""Structural types: what the solvers ask of operators, priors, denoisers and of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from solvers.arrays import Array


@runtime_checkable
class Operator(Protocol):
    """Forward operator ``y = F(x)`` on the trailing axes; leading axes are a batch."""

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    def __call__(self, x: Array) -> Array: ...

    def vjp(self, x: Array, r: Array) -> Array: ...


@runtime_checkable
class LinearOperator(Operator, Protocol):
    """Linear forward operator with its exact adjoint."""

    def adjoint(self, y: Array) -> Array: ...

    def gram(self, x: Array) -> Array: ...

    def norm(self) -> float: ...


@runtime_checkable
class Proximable(Protocol):
    """Function with a proximal map ``argmin_x step * g(x) + 1/2 |x - v|^2``."""

    def value(self, x: Array) -> Any: ...

    def prox(self, v: Array, step: float) -> Array: ...


@runtime_checkable
class Smooth(Protocol):
    """Differentiable function."""

    def value(self, x: Array) -> Any: ...

    def gradient(self, x: Array) -> Array: ...


@runtime_checkable
class Denoiser(Protocol):
    """Denoiser for white Gaussian noise of standard deviation ``sigma``."""

    def __call__(self, v: Array, sigma: float) -> Array: ...


@runtime_checkable
class Algorithm(Protocol):
    """An iterative algorithm: a frozen dataclass of the problem and its parameters.

    ``init`` returns a state, a frozen dataclass with the image at ``state.x``; ``step`` returns the next one and
    changes nothing.
    """

    def init(self, x0: Array) -> Any: ...

    def step(self, state: Any, k: int) -> Any: ...


@dataclass(frozen=True)
class Term:
    """One term ``g(K x)`` of a prior.

    Parameters
    ----------
    function : Proximable
        ``g``.
    operator : object or None
        ``K``: callable, with ``adjoint``, ``norm()`` and ``fourier_gram(shape)``. None is the identity.
    """

    function: Any
    operator: Any = None

    def apply(self, x: Array) -> Array:
        """``K x``."""
        return x if self.operator is None else self.operator(x)

    def adjoint(self, z: Array) -> Array:
        """``K^H z``."""
        return z if self.operator is None else self.operator.adjoint(z)

    def fourier_gram(self, shape: tuple[int, ...]) -> Any:
        """Eigenvalues of ``K^H K`` over the frequencies of ``shape``, or None."""
        if self.operator is None:
            return 1.0
        # Forward operators know their shape, operators of a prior take any.
        return self.operator.fourier_gram() if hasattr(self.operator, "in_shape") else self.operator.fourier_gram(shape)

    def norm(self) -> float:
        """Upper bound of ``|K|``."""
        return 1.0 if self.operator is None else self.operator.norm()
