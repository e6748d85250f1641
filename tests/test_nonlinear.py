"""Nonlinear operators: the contract, how they combine, and derivatives against closed forms and differences."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch
from operators_list import NONLINEAR, OPERATORS, Cube, Exponential, Power, Square

from recon import check_operator, operators
from recon._operator_checks import dense
from recon.operators import (
    Blur,
    CartesianMRI,
    Identity,
    LinearOperator,
    Mask,
    NonlinearOperator,
    Operator,
    ParallelBeam,
    PointwiseOperator,
    block_diagonal,
    from_callables,
    from_torch,
    stack,
)
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, ShapeError

RNG = np.random.default_rng(0)


def jacobian(F, x):
    """The derivative of a real operator at ``x`` by central differences, (m, n)."""
    steps = 1e-6 * np.eye(x.size).reshape(-1, *x.shape)
    return np.stack([(F(x + step) - F(x - step)).reshape(-1) / 2e-6 for step in steps], axis=1)


# --- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NONLINEAR)
def test_operator_passes_the_battery(name):
    check_operator(NONLINEAR[name]())


def test_every_exported_nonlinear_operator_is_in_the_list():
    exported = {getattr(operators, name) for name in operators.__all__ if inspect.isclass(getattr(operators, name))}
    own = {c for c in exported if issubclass(c, Operator) and not issubclass(c, LinearOperator)}
    assert own - {type(build()) for build in NONLINEAR.values()} == {Operator, NonlinearOperator, PointwiseOperator}


@pytest.mark.parametrize("name", NONLINEAR)
def test_operator_pickles(name):
    operator = NONLINEAR[name]()
    copy = pickle.loads(pickle.dumps(operator))
    assert (copy.in_shape, copy.out_shape, repr(copy)) == (operator.in_shape, operator.out_shape, repr(operator))


@pytest.mark.parametrize("name", ["pointwise", "numpy alone", "linear before", "sum", "stack", "block diagonal"])
def test_derivative_is_that_of_differences(name):
    F = NONLINEAR[name]()
    x = F.example(RNG)
    expected = jacobian(F, x)
    J = F.linearize(x)
    np.testing.assert_allclose(dense(J), expected, atol=1e-7)
    np.testing.assert_allclose(dense(J.H), expected.T, atol=1e-7)


def test_a_linear_operator_is_its_own_derivative():
    A = OPERATORS["blur odd"]()
    x, d = RNG.standard_normal((2, *A.in_shape))
    assert A.linearize(x) is A
    np.testing.assert_array_equal(A.jvp(x, d), A(d))


def test_derivative_of_magnitudes_is_the_gradient_of_the_misfit():
    F = Power((3, 4)) @ CartesianMRI(np.ones((3, 4), bool))
    x = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
    y = RNG.random((3, 4))

    def misfit(image):
        return 0.5 * np.sum((F(image) - y) ** 2)

    gradient = F.vjp(x, F(x) - y)
    for step in (1e-6, 1e-6j):
        d = np.zeros((3, 4), complex)
        d[1, 2] = step
        slope = (misfit(x + d) - misfit(x - d)) / 2e-6
        part = gradient[1, 2].real if step.real else gradient[1, 2].imag
        assert abs(slope - part) < 1e-6 * abs(gradient).max()


def test_linearize_evaluates_the_inner_operator_once():
    calls = []

    class Counted(Square):
        def _apply(self, x):
            calls.append(1)
            return x * x

    J = (Exponential((3,)) @ Counted((3,))).linearize(np.ones(3))
    calls.clear()
    np.testing.assert_allclose(Exponential((3,)).linearize(np.ones(3))(np.ones(3)), -np.exp(-1) * np.ones(3))
    J.outer(np.ones(3))
    assert not calls


def test_norm_of_a_derivative_at_a_batch_is_the_largest():
    F = ParallelBeam((4, 5), 3) @ Exponential((4, 5))
    x = RNG.standard_normal((3, 4, 5))
    largest = max(np.linalg.norm(jacobian(F, item), 2) for item in x)
    assert largest <= F.linearize(x).norm() <= 1.02 * largest
    d = RNG.standard_normal((3, 4, 5))
    np.testing.assert_allclose(F.linearize(x)(d), np.stack([F.jvp(*both) for both in zip(x, d, strict=True)]))


def test_derivative_of_a_function_of_each_pixel_has_closed_forms():
    x = RNG.standard_normal((4, 5))
    J = Exponential((4, 5)).linearize(x)
    np.testing.assert_allclose(J.diagonal_gram(), np.exp(-2 * x))
    assert J.norm() == pytest.approx(np.exp(-x.min()))
    b = RNG.standard_normal((4, 5))
    np.testing.assert_allclose(J.solve_shifted(b, 0.5), b / (np.exp(-2 * x) + 0.5))


# --- combinations ---------------------------------------------------------------------------------------------------


def test_compositions_compute_what_their_parts_do():
    B, F = Blur(np.ones((3, 3)), (4, 5)), Exponential((4, 5))
    x = RNG.standard_normal((4, 5))
    np.testing.assert_allclose((B @ F)(x), B(np.exp(-x)))
    np.testing.assert_allclose((F @ B)(x), np.exp(-B(x)))
    np.testing.assert_allclose((F @ F @ B)(x), np.exp(-np.exp(-B(x))))
    np.testing.assert_allclose((2 * F - B)(x), 2 * np.exp(-x) - B(x))
    np.testing.assert_allclose((B - F)(x), B(x) - np.exp(-x))
    np.testing.assert_allclose((-F)(x), -np.exp(-x))
    np.testing.assert_allclose(stack([B, F])(x), np.stack([B(x), np.exp(-x)]))
    both = block_diagonal([B, F])
    np.testing.assert_allclose(both(np.stack([x, x])), np.stack([B(x), np.exp(-x)]))
    assert not isinstance(both, LinearOperator)
    assert isinstance(stack([B, Identity((4, 5))]), LinearOperator)


def test_sampling_of_a_composition_is_that_of_the_last():
    mask = RNG.random((4, 5)) < 0.5
    F = Exponential((4, 5)).with_sampling(mask)
    np.testing.assert_array_equal(F.sampling, mask)
    np.testing.assert_array_equal(F(np.zeros((4, 5))), mask)


def test_compositions_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="cannot compose"):
        Exponential((4, 5)) @ Exponential((5, 4))
    with pytest.raises(ShapeError, match="cannot add"):
        Exponential((4, 5)) + Exponential((5, 4))
    with pytest.raises(OperatorError, match="gives complex"):
        Exponential((4, 5)) @ CartesianMRI(np.ones((4, 5), bool))
    with pytest.raises(OperatorError, match="some give real"):
        stack([Power((4, 5)), CartesianMRI(np.ones((4, 5), bool))])
    with pytest.raises(DTypeError, match="expected operators"):
        stack([Exponential((4, 5)), np.exp])
    with pytest.raises(TypeError):
        Exponential((4, 5)) @ 3


# --- arguments ------------------------------------------------------------------------------------------------------


def test_wrong_arguments_say_what_is_expected():
    F = Exponential((4, 5))
    x = np.zeros((2, 4, 5))
    with pytest.raises(ShapeError, match=r"expected r of shape \(2, 4, 5\)"):
        F.vjp(x, x[0])
    with pytest.raises(ShapeError, match=r"d has shape \(4, 4\)"):
        F.jvp(x, np.zeros((4, 4)))
    with pytest.raises(DTypeError, match="takes real arrays"):
        F.jvp(x, 1j * x)
    with pytest.raises(DTypeError, match="r has dtype"):
        Power((4, 5)).vjp(1j * x, 1j * x)


def test_an_operator_without_derivative_says_what_to_write():
    class Opaque(NonlinearOperator):
        torch_body = False

        def __init__(self, shape):
            super().__init__(shape, shape)

        def _apply(self, x):
            return x

    for product in (Opaque((3,)).vjp, Opaque((3,)).jvp):
        with pytest.raises(OperatorError, match="_linearize"):
            product(np.ones(3), np.ones(3))


def test_a_body_of_the_wrong_shape_is_named():
    class Wrong(Square):
        def _vjp(self, x, r):
            return r[:1]

    with pytest.raises(OperatorError, match="the vjp of"):
        Wrong((3,)).vjp(np.ones(3), np.ones(3))


# --- torch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("F", [Square((3,)), Cube((3,)), Exponential((3,)) @ Cube((3,))])
def test_gradients_pass_in_both_modes(F):
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F, (x,), check_forward_ad=True)
    r = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: F.vjp(x.detach(), v), (r,))
    assert torch.autograd.gradcheck(lambda v: F.jvp(x.detach(), v), (r,))


def test_second_derivatives_of_a_torch_body_pass_and_those_of_numpy_are_refused():
    x = torch.tensor([0.5, -1.0], dtype=torch.float64, requires_grad=True)
    square, cube = Square((2,)), Cube((2,))
    assert torch.autograd.gradcheck(lambda v: square.vjp(v, v), (x,))
    assert torch.autograd.gradcheck(lambda v: square.jvp(v, v), (x,))
    with pytest.raises(OperatorError, match="second derivative"):
        cube.vjp(x, x.detach()).sum().backward()


# --- functions of the user ------------------------------------------------------------------------------------------


def test_torch_functions_of_complex_images():
    F = from_torch(lambda x: torch.fft.fft2(x).abs() ** 2, (3, 4), linear=False, kind="complex")
    assert (F.kind, F.out_kind) == ("complex", "real")
    check_operator(F)
    x = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
    np.testing.assert_allclose(F(x), abs(np.fft.fft2(x)) ** 2)


def test_torch_functions_that_are_not_linear_say_how_to_pass_them():
    with pytest.raises(OperatorError, match="linear=False"):
        from_torch(lambda x: x**2, (3,))
    with pytest.raises(OptionError, match="kind"):
        from_torch(lambda x: x**2, (3,), linear=False, kind="imaginary")


def test_callables_of_complex_images_with_real_measurements():
    F = from_callables(
        lambda x: abs(x) ** 2, None, (3,), (3,),
        vjp=lambda x, r: 2 * x * r, jvp=lambda x, d: 2 * (x.conj() * d).real, kind="complex", out_kind="real",
    )  # fmt: skip
    check_operator(F)


def test_callables_need_one_of_adjoint_and_vjp():
    with pytest.raises(ArgumentError, match="missing"):
        from_callables(np.exp, None, (3,), (3,))
    with pytest.raises(ArgumentError, match="both given"):
        from_callables(np.exp, np.exp, (3,), (3,), vjp=np.exp)
    with pytest.raises(OperatorError, match="lbfgs"):
        from_callables(np.exp, None, (3,), (3,), vjp=lambda x, r: np.exp(x) * r).jvp(np.ones(3), np.ones(3))


# --- check_operator sees what is wrong ------------------------------------------------------------------------------


class WrongFactor(Square):
    def _jvp(self, x, d):
        return 2.001 * x * d


class WrongBoth(Square):
    def _jvp(self, x, d):
        return 2.001 * x * d

    def _vjp(self, x, r):
        return 2.001 * x.conj() * r


class WritesIntoX(Cube):
    def _vjp(self, x, r):
        r = r.copy()
        r *= 3 * x.conj() ** 2
        return r.view()

    def _apply(self, x):
        return x


@pytest.mark.parametrize(
    ("F", "match"),
    [
        (WrongFactor((4,)), "jvp and vjp"),
        (WrongBoth((4,)), "Taylor remainder"),
        (WritesIntoX((4,)), "returns its argument's memory"),
        (Mask(np.eye(4)) @ WrongFactor((4, 4)), "jvp and vjp"),
    ],
)
def test_what_is_wrong_is_seen(F, match):
    with pytest.raises(OperatorError, match=match):
        check_operator(F)
