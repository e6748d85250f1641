"""The public checks accept what is right and name what is wrong."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from priors import Box, NonNegative, Tikhonov
from recon import check_operator, check_prior, check_solver
from recon.check import probe_operator
from recon.operators import Blur, LinearOperator, Mask, NonlinearOperator, ParallelBeam, from_callables
from solvers.data_terms import LeastSquares
from solvers.errors import OperatorError, ReconError
from solvers.gradient import FISTA, ProximalGradient

SHAPE = (6, 8)


class Twice(LinearOperator):
    """A correct operator, for the mistakes below to spoil."""

    def __init__(self):
        super().__init__(SHAPE, SHAPE)

    def _apply(self, x):
        return 2 * x

    def _adjoint(self, y):
        return 2 * y


class WrongScale(Twice):
    def _adjoint(self, y):
        return 2.02 * y


class WrongConjugate(Twice):
    kind = "complex"

    def _apply(self, x):
        return 2j * x

    def _adjoint(self, y):
        return 2j * y


class Shifted(Twice):
    def _apply(self, x):
        return 2 * x + 1


class ChangesInput(Twice):
    def _apply(self, x):
        x *= 2
        return x


class WrongShape(Twice):
    def _apply(self, x):
        return 2 * x[..., :-1, :]


class Promotes(Twice):
    def _apply(self, x):
        return x * np.array([2.0]) if isinstance(x, np.ndarray) else 2 * x


class MixesBatch(Twice):
    def _apply(self, x):
        return 2 * x + (x - x[::-1] if x.ndim > 2 else 0)


class Remembers(Twice):
    def _apply(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return 2 * x * (1 + 1e-3 * self.calls)


class LosesGradients(Twice):
    def _apply(self, x):
        return 2 * x if isinstance(x, np.ndarray) else 2 * x.detach() + 0 * x


class WrongTorch(Twice):
    def _apply(self, x):
        return 2 * x if isinstance(x, np.ndarray) else 3 * x


class NormTooSmall(Twice):
    def norm(self):
        return 1.9


class NormTooLarge(Twice):
    def norm(self):
        return 2.1


class WrongSolve(Twice):
    def _solve_shifted(self, b, rho):
        return b / (2 + rho)


class WrongSpectrum(Twice):
    def fourier_gram(self):
        return np.full(SHAPE, 2.0)


class WrongDiagonal(Twice):
    def diagonal_gram(self):
        return np.full(SHAPE, 2.0)


class WrongFactors(Twice):
    def factors(self):
        return Mask(np.ones(SHAPE)), Mask(np.ones(SHAPE))


class WrongSampling(Twice):
    sampling = np.tri(*SHAPE, dtype=bool)


class NotNonnegative(Twice):
    nonnegative = True

    def _apply(self, x):
        return -2 * x

    _adjoint = _apply


class ReturnsItsInput(Twice):
    def _apply(self, x):
        return x

    _adjoint = _apply


MISTAKES = {
    WrongScale: "adjoint error",
    WrongConjugate: "adjoint error",
    Shifted: "linearity",
    ChangesInput: "check_contract",
    WrongShape: "returned shape",
    Promotes: "forward of another shape or dtype, float32",
    MixesBatch: "forward of a batch",
    Remembers: "forward differs on a second call",
    LosesGradients: "gradient of the forward",
    WrongTorch: "torch forward",
    NormTooSmall: "norm under the largest singular value",
    NormTooLarge: "norm over the largest singular value",
    WrongSolve: "solve_shifted",
    WrongSpectrum: "fourier_gram",
    WrongDiagonal: "diagonal_gram",
    WrongFactors: "factors",
    WrongSampling: "unmeasured samples not zero",
    NotNonnegative: "negative entries",
    ReturnsItsInput: "forward returns its input's memory",
}


def test_a_right_operator_passes():
    report = check_operator(Twice())
    assert report.ok
    assert report.failures == ()
    assert "properties hold exactly" in str(report)


@pytest.mark.parametrize("kind", MISTAKES, ids=lambda kind: kind.__name__)
def test_each_mistake_is_named(kind):
    with pytest.raises(OperatorError) as caught:
        check_operator(kind())
    assert MISTAKES[kind] in str(caught.value)
    report = check_operator(kind(), raise_errors=False)
    assert not report.ok
    assert any(MISTAKES[kind] in f"{figure.name} {figure.remedy}" for figure in report.failures)


def test_an_approximate_adjoint_passes_within_its_own_tolerance():
    class Approximate(Twice):
        adjoint_tolerance = {"float32": 1e-2, "float64": 1e-2}  # noqa: RUF012

        def _adjoint(self, y):
            return 2.002 * y

    assert check_operator(Approximate(), dtypes=["float64"]).ok
    assert (3 * Approximate()).adjoint_tolerance == Approximate.adjoint_tolerance


def test_only_the_precisions_asked_for_are_probed():
    names = " ".join(figure.name for figure in check_operator(Twice(), dtypes=[np.float64]).figures)
    assert "float64" in names
    assert "float32" not in names


class Cubed(NonlinearOperator):
    def _apply(self, x):
        return x**3


class CubedWrong(Cubed):
    def _vjp(self, x, r):
        return 2 * x**2 * r


def test_nonlinear_operators_have_their_derivative_checked():
    assert check_operator(Cubed((4,), (4,))).ok
    with pytest.raises(OperatorError, match="vjp"):
        check_operator(CubedWrong((4,), (4,)))


def test_lambdas_are_reported_but_not_refused():
    report = check_operator(from_callables(lambda x: 2 * x, lambda y: 2 * y, (4,), (4,)))
    assert report.ok
    assert "does not pickle" in str(report)


# --- the quick probe ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "adjoint", "match"),
    [
        (lambda x: 2 * x, lambda y: y, "adjoint .* is off by 0.3"),
        (lambda x: 2 * x, lambda y: 2 * y[::-1], "adjoint .* is off by"),
        (lambda x: 2 * x, lambda y: 2.001 * y, "is off by"),
        (lambda x: np.multiply(x, 2, out=x), lambda y: 2 * y, "writes to its input"),
        (lambda x: x[1:], lambda y: 2 * y, "returned shape"),
        (lambda x: 2 * x, lambda y: y[1:], "returned shape"),
        (lambda x: x / 0, lambda y: y, "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_probe_refuses_wrong_callables(forward, adjoint, match):
    with pytest.raises(OperatorError, match=match):
        probe_operator(from_callables(forward, adjoint, (64, 64), (64, 64)))


def test_probe_sees_a_write_behind_numpys_back():
    def overwrite(x):
        import ctypes

        ctypes.memset(x.ctypes.data, 0, 8)
        return 2 * x

    with pytest.raises(OperatorError, match="changes its input"):
        probe_operator(from_callables(overwrite, lambda y: 2 * y, (8,), (8,)))


def test_probe_passes_what_is_right_and_is_quick():
    for operator in (Blur(np.ones((3, 3)), (256, 256)), 0 * Mask(np.eye(4)), Blur([[1.0, 2.0]], (5, 5)) * 1j):
        probe_operator(operator)
    projector = ParallelBeam((64, 64), 30)
    probe_operator(projector)
    start = time.perf_counter()
    probe_operator(projector, dtype=np.float32)
    assert time.perf_counter() - start < 1.0


# --- priors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [Tikhonov(), NonNegative(), Box(-1, 1), 0.3 * Tikhonov() + NonNegative()], ids=repr)
def test_right_priors_pass(prior):
    assert check_prior(prior, (6, 7)).ok


class Ridge:
    """A correct prior, for the mistakes below to spoil."""

    def value(self, x):
        return 0.5 * (x * x).sum()

    def prox(self, v, step):
        return v / (1 + step)


class RidgeStrong(Ridge):
    def prox(self, v, step):
        return v / (1 + 2 * step)


class RidgeWeak(Ridge):
    def prox(self, v, step):
        return v / (1 + step / 2)


class RidgeInPlace(Ridge):
    def prox(self, v, step):
        v /= 1 + step
        return v


class RidgePromotes(Ridge):
    def prox(self, v, step):
        return v / np.float64(1 + step) if isinstance(v, np.ndarray) else v / (1 + step)


class RidgeOfBatch(Ridge):
    def prox(self, v, step):
        return v / (1 + step * len(v))


class RidgeTerms(Ridge):
    def terms(self):
        from solvers.protocols import Term

        return (Term(self), Term(self))


class Repels:
    """``-|x|^2 / 8``: not convex, though its proximal map exists for small steps."""

    def value(self, x):
        return -0.125 * (x * x).sum()

    def prox(self, v, step):
        return v / (1 - 0.25 * step)


def test_a_prior_of_your_own_passes():
    assert check_prior(Ridge(), (5, 6)).ok


@pytest.mark.parametrize(
    ("prior", "match"),
    [
        (RidgeStrong(), "beaten by"),
        (RidgeWeak(), "beaten by"),
        (RidgeInPlace(), "check_contract"),
        (RidgePromotes(), "another shape or dtype, float32"),
        (RidgeOfBatch(), "prox of a batch"),
        (RidgeTerms(), "terms do not add up"),
        (Repels(), "expands by"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_priors_are_named(prior, match):
    with pytest.raises(OperatorError, match=match):
        check_prior(prior, (5, 6))


def test_a_prior_that_is_not_convex_is_let_off_where_told():
    names = [figure.name for figure in check_prior(Repels(), (5, 6), convex=False).figures]
    assert not any("expands" in name for name in names)


# --- solvers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [FISTA, ProximalGradient])
def test_right_solvers_pass(solver):
    assert check_solver(lambda A, y, g, strength: solver(LeastSquares(A, y), g, strength)).ok


@dataclasses.dataclass(frozen=True)
class State:
    x: object


@dataclasses.dataclass
class MutableState:
    x: object


class Descent:
    """Gradient descent, correct, for the mistakes below to spoil."""

    state = State

    def __init__(self, A, y, function, strength):
        self.A, self.y, self.function, self.strength = A, y, function, strength
        self.step_size = 1 / (A.norm() ** 2 + strength)

    def init(self, x0):
        return self.state(x0)

    def gradient(self, x):
        return self.A.adjoint(self.A(x) - self.y) + self.strength * self.function.gradient(x)

    def step(self, state, k):
        return self.state(state.x - self.step_size * self.gradient(state.x))


class DescentMutable(Descent):
    state = MutableState


class DescentInPlace(Descent):
    def step(self, state, k):
        x = state.x
        x -= self.step_size * self.gradient(x)
        return self.state(x)


class DescentRemembers(Descent):
    def step(self, state, k):
        self.step_size *= 0.999
        return super().step(state, k)


class DescentWrongScale(Descent):
    def gradient(self, x):
        return self.A.adjoint(self.A(x) - self.y) + 2 * self.strength * self.function.gradient(x)


class DescentDetached(Descent):
    def gradient(self, x):
        return super().gradient(x if isinstance(x, np.ndarray) else x.detach())


def test_a_solver_of_your_own_passes():
    assert check_solver(Descent).ok


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (DescentMutable, "state is not a frozen dataclass"),
        (DescentInPlace, "step changes its state"),
        (DescentRemembers, "step differs on a second call"),
        (DescentWrongScale, "distance to the minimiser"),
        (DescentDetached, "gradient through the steps"),
    ],
)
def test_wrong_solvers_are_named(build, match):
    with pytest.raises(OperatorError, match=match):
        check_solver(build, max_iter=500)


def test_every_failure_is_a_typed_error():
    assert issubclass(OperatorError, ReconError)
    assert issubclass(OperatorError, ValueError)
