"""Check operators, priors and solvers of your own against the contracts the library builds on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from recon import _nonlinear_checks as nonlinear
from recon import _operator_checks as checks
from recon._figures import Figure, Report, measure, random_array
from recon.operators.base import LinearOperator
from recon.operators.wrappers import as_operator
from solvers.errors import OperatorError

__all__ = ["Figure", "Report", "check_operator", "check_prior", "check_solver", "probe_operator"]

PROBE_LIMIT = 1e-4  # wrong adjoints are off by percents; those computed in float32 by 1e-6


def check_operator(
    operator: Any,
    *,
    rng: Any = 0,
    dtypes: Sequence[Any] | None = None,
    raise_errors: bool = True,
) -> Report:
    """Measure whether an operator keeps its contract.

    The adjoint error ``|<A x, y> - <x, A^H y>| / (|A x| |y|)`` with random probes is at most 1e-6 in single and 1e-12
    in double precision (or ``operator.adjoint_tolerance``, a dict by dtype name). Further: linearity, shapes and
    dtypes, inputs left alone, batches, repeatability, the torch body, gradients, ``norm()``, every closed form the
    operator claims, pickling. Of a nonlinear operator, ``jvp`` and ``vjp`` are adjoint to each other to 1e-6 in single
    and 1e-11 in double precision, the Taylor remainder is of second order, and ``vjp`` is compared with differences;
    it is tried on images from ``operator.example(rng)``.

    Parameters
    ----------
    operator : Operator, or what :func:`recon.reconstruct` takes for one
    rng : int or numpy.random.Generator
        Source of the probes.
    dtypes : sequence of dtype, optional
        Precisions to probe; by default all that the operator takes.
    raise_errors : bool
        Raise on failure; otherwise ``report.failures`` has them.

    Returns
    -------
    Report
        ``print`` it for a table of figures and limits.

    Raises
    ------
    OperatorError
        Lists every figure beyond its limit, with the remedy.

    Examples
    --------
    >>> from recon import check_operator, operators
    >>> check_operator(operators.Mask(np.eye(4))).ok
    True
    """
    operator = as_operator(operator)
    probe: Any = checks.Probe
    every: Any = checks.LINEAR
    in_double: Any = checks.LINEAR_IN_DOUBLE
    if not isinstance(operator, LinearOperator):
        probe, every, in_double = nonlinear.NonlinearProbe, nonlinear.EVERY, nonlinear.IN_DOUBLE
    names = [np.dtype(dtype).name for dtype in dtypes] if dtypes is not None else _dtypes(operator)
    rng = np.random.default_rng(rng)
    batteries = [(name, every) for name in names] + [(_double(operator), in_double)]
    return _finish(
        repr(operator),
        {
            f"{check.__name__}, {name}": partial(check, probe(operator, np.dtype(name), rng))
            for name, battery in batteries
            for check in battery
        },
        raise_errors,
    )


def _finish(subject: str, battery: dict[str, Callable[[], Any]], raise_errors: bool) -> Report:
    report = measure(subject, battery)
    if raise_errors:
        report.raise_failures()
    return report


def _dtypes(operator: Any) -> list[str]:
    real, complex_ = ["float32", "float64"], ["complex64", "complex128"]
    return {"any": real + complex_, "real": real, "complex": complex_}[operator.kind]


def _double(operator: Any) -> str:
    return "complex128" if operator.kind == "complex" else "float64"


def probe_operator(operator: Any, *, rng: Any = 0, dtype: Any = None) -> None:
    """Refuse an operator that is plainly wrong, at the price of one forward and one adjoint.

    Parameters
    ----------
    operator : LinearOperator
        One that came from the user.
    rng : int or numpy.random.Generator
        Source of the probe.
    dtype : dtype, optional
        Precision; double by default.

    Raises
    ------
    OperatorError
        The adjoint is wrong, a function changes its input or returns the wrong shape, or values are not finite.

    Examples
    --------
    >>> from recon.operators import from_callables
    >>> probe_operator(from_callables(lambda x: 2 * x, lambda y: y, (8, 8), (8, 8)))
    Traceback (most recent call last):
      ...
    solvers.errors.OperatorError: the adjoint of from_callables((8, 8) -> (8, 8)) is off by 0.32; ...
    """
    rng = np.random.default_rng(rng)
    dtype = np.dtype(dtype or _double(operator))
    x = random_array(rng, operator.in_shape, dtype)
    forward = _untouched(f"forward of {operator!r}", operator, x)
    # Half the probe lies along A x: against a purely random one the inner products are near zero, right or wrong.
    noise = random_array(rng, operator.out_shape, dtype)
    y = noise / np.linalg.norm(noise) + forward / (np.linalg.norm(forward) or 1.0)
    back = _untouched(f"adjoint of {operator!r}", operator.adjoint, y.astype(dtype))
    error = abs(checks.inner(forward, y) - checks.inner(x, back))
    scale = float(np.linalg.norm(forward) * np.linalg.norm(y))
    if error > max(PROBE_LIMIT, checks.Probe(operator, dtype, rng).adjoint_limit) * scale:
        raise OperatorError(
            f"the adjoint of {operator!r} is off by {error / (scale or 1.0):.2g}; expected |<Ax, y> - <x, A*y>| of at "
            f"most {PROBE_LIMIT:g} |Ax| |y|. Make it the exact conjugate transpose of the forward, not an inverse or "
            "an approximation; recon.check_operator measures it."
        )


def _untouched(name: str, apply: Any, given: np.ndarray) -> np.ndarray:
    """Apply one direction and see that its input survives and its output is finite."""
    before = given.copy()
    given.flags.writeable = False
    result = apply(given)
    if not np.array_equal(before, given):
        raise OperatorError(
            f"the {name} changes its input; operators never do. Let it start from a copy: x = x.copy()."
        )
    if not np.isfinite(result).all():
        raise OperatorError(
            f"the {name} returns NaN or infinite values for finite input; expected finite ones. "
            "Look for divisions by zero and for NaN in what it was built from."
        )
    return np.asarray(result)


def check_prior(
    prior: Any,
    shape: Sequence[int],
    *,
    rng: Any = 0,
    convex: bool = True,
    tolerance: float = 1e-3,
    raise_errors: bool = True,
) -> Report:
    """Measure whether a prior keeps its contract.

    The proximal map minimises ``step * g(x) + 1/2 |x - v|^2`` better than ``v``, random points around it and points
    towards ``v`` and 0 do; it is firmly nonexpansive if ``g`` is convex; dtypes are kept, inputs left alone, batches
    independent, numpy and torch equal; the terms add up to the value; it pickles.

    Parameters
    ----------
    prior : Prior
        With ``value``, ``prox`` and, optionally, ``terms``.
    shape : tuple of int
        Shape of an image to try it on.
    rng : int or numpy.random.Generator
        Source of the images.
    convex : bool
        Whether to hold it to what only convex functions do.
    tolerance : float
        Relative error allowed of an iterative proximal map.
    raise_errors : bool
        Raise on failure; otherwise ``report.failures`` has them.

    Returns
    -------
    Report

    Raises
    ------
    OperatorError
        Lists every figure beyond its limit, with the remedy.

    Examples
    --------
    >>> from recon import check_prior
    >>> from priors import Tikhonov
    >>> check_prior(Tikhonov(), (8, 8)).ok
    True
    """
    from recon import _prior_checks

    trial = _prior_checks.Trial(prior, tuple(shape), np.random.default_rng(rng), convex, tolerance)
    return _finish(repr(prior), {c.__name__: partial(c, trial) for c in _prior_checks.CHECKS}, raise_errors)


def check_solver(
    build: Callable[[Any, np.ndarray, Any, float], Any],
    *,
    rng: Any = 0,
    max_iter: int = 2000,
    raise_errors: bool = True,
) -> Report:
    """Measure whether a solver keeps its contract, on a small problem whose minimiser is known.

    The problem is ``1/2 |A x - y|^2 + strength * 1/2 |x|^2`` in double precision. The state is a frozen dataclass,
    ``step`` is pure, the iterates reach the minimiser to 1e-6, and gradients pass through an unrolled run.

    Parameters
    ----------
    build : callable
        ``build(operator, y, function, strength)`` returns the algorithm; ``function`` is ``1/2 |x|^2`` with ``value``,
        ``gradient``, ``prox`` and ``terms``.
    rng : int or numpy.random.Generator
        Source of the problem.
    max_iter : int
        Steps within which the minimiser is reached.
    raise_errors : bool
        Raise on failure; otherwise ``report.failures`` has them.

    Returns
    -------
    Report

    Raises
    ------
    OperatorError
        Lists every figure beyond its limit, with the remedy.

    Examples
    --------
    >>> from recon import check_solver
    >>> from solvers.data_terms import LeastSquares
    >>> from solvers.gradient import FISTA
    >>> check_solver(lambda A, y, g, strength: FISTA(LeastSquares(A, y), g, strength)).ok
    True
    """
    from recon import _solver_checks

    trial = _solver_checks.Trial(build, np.random.default_rng(rng), max_iter)
    name = getattr(build, "__name__", repr(build))
    return _finish(name, {c.__name__: partial(c, trial) for c in _solver_checks.CHECKS}, raise_errors)
