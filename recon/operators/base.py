"""Forward operators: what every one of them does, and how they combine.

A subclass writes its physics, ``_apply`` and ``_adjoint``. Checks of shape and dtype, batches, torch tensors, the norm
and composition live here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from recon.operators._constants import Constant
from recon.operators._fourier import fourier_divide, of_real_images
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, OperatorError, ShapeError
from solvers.operator_calls import counted
from solvers.validation import as_inexact, positive_float, shape_argument

CALLS = {"gram": 2, "vjp": 1, "jvp": 1}
"""Methods that a subclass may have of its own, and for how many calls of the operator each counts."""


class Operator:
    """Forward operator ``y = F(x)``.

    Acts on the trailing axes of its argument; leading axes, if any, are a batch. Operators never change their input and
    keep no state between calls but what follows from their construction (a norm, a spectrum).

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        Shapes of one image and of one measurement, without batch axes.
    """

    kind: Literal["any", "real", "complex"] = "any"
    """``any`` keeps the dtype, ``real`` refuses complex arrays, ``complex`` promotes real ones."""

    out_kind: Literal["any", "real", "complex"] | None = None
    """The same of the measurement, where it is not that of the image: ``real`` for magnitudes. None is ``kind``.

    An adjoint is then that of the real inner product ``Re <a, b>``: of real images, the real part of ``A^H y``.
    """

    torch_body: bool = True
    """Whether ``_apply`` and its companions take tensors. If not, CPU tensors go through the numpy body."""

    sampling: np.ndarray | None = None
    """Where it measures (boolean, broadcastable to ``out_shape``), or None: everywhere.

    Elsewhere the forward is zero and the adjoint ignores its argument.
    """

    interior: tuple[slice, ...] | None = None
    """Where the measurement's frame lies in the image, or None: all of it. A solver stops once that has settled."""

    channels: bool = False
    """Whether the first axis of ``in_shape`` holds bands rather than space: the default prior then couples them."""

    neighbours_alike: bool = True
    """Whether neighbouring samples are alike, as in a picture: their differences then tell the level of the noise."""

    pointwise: bool = False
    """Whether each sample of the measurement depends on the one pixel at its place."""

    adjoint_tolerance: dict[str, float] | None = None
    """Adjoint error that :func:`recon.check_operator` allows by dtype name, where the body is an approximation."""

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int]):
        self.in_shape = shape_argument("in_shape", in_shape)
        self.out_shape = shape_argument("out_shape", out_shape)

    def __call__(self, x: Array) -> Array:
        """Apply the operator to ``x`` of shape ``(..., *in_shape)``; returns ``(..., *out_shape)``."""
        return self._run(x, "x", self.in_shape, self.out_shape, adjoint=False)

    @property
    def measured_kind(self) -> Literal["any", "real", "complex"]:
        """``kind`` of the measurement."""
        return self.out_kind or self.kind

    def objection(self, y: Array) -> str | None:
        """What shows that this operator did not make the measurement ``y``, and the remedy; None where nothing does."""
        return None

    def _apply(self, x: Array) -> Array:
        raise NotImplementedError

    def _adjoint(self, y: Array) -> Array:
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, cost in CALLS.items():
            if name in cls.__dict__:
                setattr(cls, name, counted(cost, cls.__dict__[name]))

    @partial(counted, 1)
    def _run(self, array: Array, name: str, taken: tuple[int, ...], given: tuple[int, ...], *, adjoint: bool) -> Array:
        """Check ``array``, run the body that suits it and check what comes out."""
        array = self._admit(array, name, taken, self.out_kind if adjoint else None)
        if arrays.is_torch(array) and not self.torch_body:
            from recon.autograd import through_numpy

            out = through_numpy(self, array, adjoint=adjoint)
        else:
            out = self._of_kind(array, adjoint=adjoint)
        batch = tuple(array.shape[: array.ndim - len(taken)])
        return self._returned(out, "adjoint" if adjoint else "forward", batch + given)

    def _of_kind(self, array: Array, *, adjoint: bool) -> Array:
        """Forward or adjoint of an array of the right kind, of the kind that comes out."""
        out = self._adjoint(array) if adjoint else self._apply(array)
        if self.out_kind is None:
            return out
        kind = self.kind if adjoint else self.out_kind
        if kind == "real" and arrays.is_complex(out):
            return out.real.contiguous() if arrays.is_torch(out) else np.ascontiguousarray(out.real)
        return _promoted(out) if kind == "complex" else out

    def _returned(self, out: Array, what: str, expected: tuple[int, ...]) -> Array:
        """What a body gave, if it has the shape that it should have."""
        shape = tuple(getattr(out, "shape", ()))
        if shape != expected:
            raise OperatorError(
                f"the {what} of {self!r} returned shape {shape}; expected {expected}. Make it return an array of that "
                "shape."
            )
        return out

    def _admit(self, array: Array, name: str, expected: tuple[int, ...], kind: str | None = None) -> Array:
        """Return ``array`` as floating point of the right kind (that of images), or say what is wrong with it."""
        kind = kind or self.kind
        array = as_inexact(name, array)
        if arrays.size(array) == 0:
            raise ShapeError(f"{name} is empty, shape {tuple(array.shape)}; expected values. Pass at least one image.")
        trailing = tuple(array.shape[array.ndim - len(expected) :]) if array.ndim >= len(expected) else None
        if trailing != expected:
            raise ShapeError(
                f"{name} has shape {tuple(array.shape)}; {self!r} takes {expected} on the trailing axes. "
                + self._shape_remedy(name, tuple(array.shape), expected)
            )
        if kind == "real" and arrays.is_complex(array):
            raise DTypeError(
                f"{name} has dtype {array.dtype}; {self!r} takes real arrays. "
                f"Pass {name}.real, or {name}.real and {name}.imag in two calls."
            )
        return _promoted(array) if kind == "complex" else array

    def _shape_remedy(self, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
        """One sentence that tells the caller what to change; a subclass may say it in its own words."""
        return f"Pass {name} of shape (..., {', '.join(map(str, expected))}), or build the operator for this shape."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_shape} -> {self.out_shape})"


def _promoted(array: Array) -> Array:
    """The array with complex numbers."""
    if arrays.is_complex(array):
        return array
    dtype = arrays.complex_dtype(array)
    return array.to(dtype) if arrays.is_torch(array) else array.astype(dtype)


class LinearOperator(Operator):
    """Linear forward operator ``y = A x`` with its exact adjoint.

    Combine with ``A @ B``, ``A + B``, ``A - B``, ``2 * A``, ``A.H``, :func:`stack` and :func:`block_diagonal`.
    """

    nonnegative: bool = False
    """Whether every entry of the matrix is >= 0, rounding included; Collatz-Wielandt bounds then certify the norm."""

    selects: bool = False
    """Whether every row and every column of the matrix holds at most one entry, and that a one."""

    frames: bool = False
    """Whether the first axis of ``in_shape`` is time and no frame is measured together with another.

    The default prior then has an axis of time, and only the axes after it are space.
    """

    costly: bool = False
    """Whether a product takes much longer than some transforms of the image: solvers should then make few."""

    batch_shape: tuple[int, ...] = ()
    """Leading axes that its argument must have: those of the images at which a derivative was taken."""

    def adjoint(self, y: Array) -> Array:
        """Apply the adjoint ``A^H`` to ``y`` of shape ``(..., *out_shape)``; returns ``(..., *in_shape)``."""
        return self._run(y, "y", self.out_shape, self.in_shape, adjoint=True)

    def vjp(self, x: Array, r: Array) -> Array:
        """``A^H r``: a linear operator is its own derivative."""
        return self.adjoint(r)

    def jvp(self, x: Array, d: Array) -> Array:
        """``A d``: a linear operator is its own derivative."""
        return self(d)

    def linearize(self, x: Array) -> LinearOperator:
        """The derivative at ``x``: the operator itself."""
        return self

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``."""
        return self.adjoint(self(x))

    def norm(self) -> float:
        """Upper bound of the largest singular value, at most 2 % over it.

        Exact where a closed form is known. Otherwise certified by Collatz-Wielandt bounds for non-negative operators,
        and for the rest by a Lanczos bound that holds with probability 1 - 1e-6 over its random start; it is then
        computed once and kept.
        """
        for eigenvalues in (self._diagonal, self._spectrum):
            if eigenvalues is not None:
                return math.sqrt(max(float(eigenvalues.double.max()), 0.0))
        return self._certified_norm

    @property
    def nonnegative_but_rounding(self) -> bool:
        """Whether every entry of the matrix is >= 0, though transforms round some products of it below zero."""
        return self.nonnegative

    @cached_property
    def _certified_norm(self) -> float:
        return self._iterate_norm()

    def _iterate_norm(self) -> float:
        from solvers.step_sizes import collatz_wielandt_norm, lanczos_norm

        bound = collatz_wielandt_norm if self.nonnegative else lanczos_norm
        return bound(self.gram, self.batch_shape + self.in_shape, complex_start=self.kind == "complex")

    def transfer(self) -> np.ndarray | None:
        """The operator's factor at each frequency (FFT order, shape ``in_shape``), or None.

        Given only where the operator is a periodic convolution over all the axes of ``in_shape``.
        """
        return None

    def fourier_gram(self) -> np.ndarray | None:
        """Eigenvalues of ``A^H A`` over the frequencies (FFT order, shape ``in_shape``), or None.

        Given only where ``A^H A`` is a periodic convolution over all the axes of ``in_shape``.
        """
        transfer = self.transfer()
        if transfer is None or self.measured_kind == self.kind:
            return None if transfer is None else transfer.real**2 + transfer.imag**2
        return of_real_images(transfer.real**2 + transfer.imag**2) if self.kind == "real" else None

    def diagonal_gram(self) -> np.ndarray | None:
        """The diagonal of ``A^H A`` (shape ``in_shape``) where that matrix is diagonal, or None."""
        return None

    def sensitivity(self) -> np.ndarray | None:
        """How strongly each pixel is seen (broadcastable to ``in_shape``), where the operator alone makes it differ.

        The squares of the norms of the matrix's columns, up to a factor: of coils the sum of their squares.
        """
        return None

    def impulse_response(self) -> np.ndarray | None:
        """``A^H A`` of an impulse at the image's centre ``n // 2``, that moved to the origin, or None.

        Given only where it is known without applying the operator.
        """
        return None

    def mean_response(self) -> np.ndarray | None:
        """About what ``A^H A`` makes of an impulse, in the mean of where that is, over the distances to it, or None.

        In FFT order, of shape ``in_shape``, the response then being periodic, or twice that. Given only where it is
        known without applying the operator.
        """
        return None

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        """``(outer, inner)`` with ``A = outer @ inner``, or None where there is no such pair.

        ``outer.solve_shifted`` and ``inner.fourier_gram()`` are then both known, so that a splitting on ``inner @ x``
        has closed-form updates.
        """
        from recon.operators.pointwise import Identity

        if self._diagonal is not None:
            return self, Identity(self.in_shape)
        if self._spectrum is not None:
            return Identity(self.out_shape), self
        return None

    @cached_property
    def _diagonal(self) -> Constant | None:
        diagonal = self.diagonal_gram()
        return None if diagonal is None else Constant(diagonal)

    @cached_property
    def _spectrum(self) -> Constant | None:
        spectrum = self.fourier_gram()
        return None if spectrum is None else Constant(spectrum)

    @property
    def has_solve_shifted(self) -> bool:
        """Whether :meth:`solve_shifted` has a closed form here."""
        if type(self)._solve_shifted is not LinearOperator._solve_shifted:
            return True
        return self._diagonal is not None or self._spectrum is not None

    def solve_shifted(self, b: Array, rho: Any) -> Array:
        """``(A^H A + rho I)^-1 b`` in closed form.

        Parameters
        ----------
        b : array, shape (..., *in_shape)
        rho : float or array
            Positive; an array broadcasts against ``b``, for example (batch, 1, 1) for one shift an image.

        Raises
        ------
        OperatorError
            Where there is no closed form; ``has_solve_shifted`` says so beforehand.
        """
        b = self._admit(b, "b", self.in_shape)
        if isinstance(rho, (int, float, np.floating)):
            rho = positive_float("rho", rho)
        return self._solve_shifted(b, rho)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if self._diagonal is not None:
            return b / (self._diagonal.like(b) + rho)
        if self._spectrum is not None:
            return fourier_divide(b, self._spectrum.like(b), rho)
        raise OperatorError(
            f"solve_shifted of {self!r} has no closed form; expected an operator whose has_solve_shifted is True. "
            "Solve with conjugate gradients on x -> A.gram(x) + rho * x."
        )

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        """The same operator measuring only where ``sampling`` (boolean, broadcastable to ``out_shape``) is True."""
        from recon.operators.pointwise import Mask

        return Mask(np.broadcast_to(sampling, self.out_shape)) @ self

    def as_scipy(self, dtype: Any = None) -> Any:
        """The operator as a ``scipy.sparse.linalg.LinearOperator`` on flattened images.

        For ``lsqr``, ``lsmr``, ``svds``, ``eigsh`` and all else that takes one; PyLops takes it too.

        Parameters
        ----------
        dtype : dtype, optional
            Precision of the products; double by default, complex for operators on complex images.

        Raises
        ------
        DTypeError
            The operator does not work in ``dtype``.
        """
        from recon.operators._scipy_view import ScipyView

        return ScipyView(self, dtype)

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator."""
        from recon.operators._combinations import Adjoint

        return Adjoint(self)

    def __matmul__(self, other: Any) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        from recon.operators._combinations import product

        return product(self, other)

    def __add__(self, other: Any) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        from recon.operators._combinations import Sum

        return Sum(self, other)

    def __sub__(self, other: Any) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        return self + (-1.0 * other)

    def __neg__(self) -> LinearOperator:
        return -1.0 * self

    def __mul__(self, factor: Any) -> LinearOperator:
        if not isinstance(factor, (int, float, complex, np.number)):
            return NotImplemented
        from recon.operators._combinations import Scaled

        return Scaled(self, factor.item() if isinstance(factor, np.number) else factor)

    __rmul__ = __mul__


def stack(operators: Sequence[Any], *, flatten: bool = False) -> Any:
    """Measure one image with several operators.

    Parameters
    ----------
    operators : sequence of LinearOperator or NonlinearOperator
        Operators of one ``in_shape``; the whole is linear if all of them are.
    flatten : bool
        False: equal ``out_shape``; the measurements stand on a new axis, ``(..., len(operators), *out_shape)``.
        True: any shapes; the flattened measurements are concatenated, ``(..., m)``.

    Raises
    ------
    ShapeError
        The images differ in shape, or the measurements do and ``flatten`` is False.

    Examples
    --------
    >>> from recon.operators import Identity, Mask
    >>> stack([Identity((4, 4)), Mask(np.eye(4))])(np.ones((4, 4))).shape
    (2, 4, 4)
    """
    from recon.operators._nonlinear_combinations import NonlinearStack
    from recon.operators._stacks import Stack, all_linear, operator_list

    given = operator_list("stack", operators)
    return (Stack if all_linear(given) else NonlinearStack)(given, flatten)


def block_diagonal(operators: Sequence[Any], *, flatten: bool = False) -> Any:
    """Measure several images, each with an operator of its own: ``y_k = A_k x_k``.

    Parameters
    ----------
    operators : sequence of LinearOperator or NonlinearOperator
        One for each image; the whole is linear if all of them are.
    flatten : bool
        False: equal shapes; images and measurements stand on a new axis, ``(..., len(operators), *in_shape)`` and
        ``(..., len(operators), *out_shape)``. True: any shapes; flattened images and flattened measurements are
        concatenated, ``(..., n)`` and ``(..., m)``.

    Raises
    ------
    ShapeError
        The shapes differ and ``flatten`` is False.

    Examples
    --------
    >>> from recon.operators import Identity, Mask
    >>> A = block_diagonal([Identity((4, 4)), 3 * Mask(np.eye(4))])
    >>> A(np.ones((2, 4, 4))).shape, A.norm()
    ((2, 4, 4), 3.0)
    """
    from recon.operators._nonlinear_combinations import NonlinearBlockDiagonal
    from recon.operators._stacks import BlockDiagonal, all_linear, operator_list

    given = operator_list("block_diagonal", operators)
    return (BlockDiagonal if all_linear(given) else NonlinearBlockDiagonal)(given, flatten)
