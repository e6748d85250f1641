"""Gradients through every operator, whether its body is torch, numpy or numba."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from operators_list import OPERATORS

from recon._figures import random_array
from recon.autograd import through_numpy
from recon.operators import (
    Blur,
    CartesianMRI,
    Downsample,
    LinearOperator,
    Mask,
    NonlinearOperator,
    ParallelBeam,
    from_callables,
    from_matrix,
)
from solvers.errors import OperatorError

SMALL = [
    "mask", "blur row", "blur 1-d", "blur unknown column", "downsample axes", "parallel beam", "mri odd",
    "differences 1-d", "matrix", "matrix complex", "matrix sparse", "scipy complex", "callables", "stack flat complex",
    "product, numba and torch", "complex multiple",
]  # fmt: skip


def tensor(shape, operator, seed=0, *, kind=None):
    dtype = complex if (kind or operator.kind) == "complex" else float
    return torch.from_numpy(random_array(np.random.default_rng(seed), shape, dtype).copy()).requires_grad_()


@pytest.mark.parametrize("name", SMALL)
def test_gradcheck_forward_adjoint_and_second_order(name):
    A = OPERATORS[name]()
    for apply, shape in ((A, A.in_shape), (A.adjoint, A.out_shape)):
        x = tensor(shape, A)
        assert torch.autograd.gradcheck(apply, (x,), fast_mode=True)
        # Squared, so that the second derivative is not zero.
        assert torch.autograd.gradgradcheck(lambda x, apply=apply: apply(x) ** 2, (x,), fast_mode=True)


@pytest.mark.parametrize("name", OPERATORS)
def test_gradient_of_a_misfit_is_the_adjoint_of_the_residual(name):
    A = OPERATORS[name]()
    x, y = tensor(A.in_shape, A), tensor(A.out_shape, A, seed=1, kind=A.measured_kind).detach()
    loss = 0.5 * (A(x) - y).abs().square().sum()
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient, A.adjoint(A(x.detach()) - y), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("A", [CartesianMRI(np.eye(3)), from_matrix(1j * np.ones((2, 3)))], ids=["torch", "numpy"])
def test_a_real_image_gets_a_real_gradient_from_a_complex_operator(A):
    x = torch.ones(A.in_shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(A(x).abs().square().sum(), x)
    assert gradient.dtype == torch.float64
    torch.testing.assert_close(gradient, 2 * A.gram(x.detach()).real)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_batches_are_kept(dtype):
    A = ParallelBeam((8, 8), 5)
    x = torch.ones(2, 3, 8, 8, dtype=dtype, requires_grad=True)
    y = A(x)
    assert (y.dtype, tuple(y.shape)) == (dtype, (2, 3, *A.out_shape))
    y.sum().backward()
    assert (x.grad.dtype, x.grad.shape) == (dtype, x.shape)


def test_strided_and_conjugated_tensors():
    matrix = np.random.default_rng(0).standard_normal((4, 6)) * (1 + 1j)
    A = from_matrix(matrix, in_shape=(2, 3))
    x = torch.randn(3, 2, dtype=torch.complex128).conj().T
    expected = matrix @ x.resolve_conj().numpy().ravel()
    np.testing.assert_allclose(A(x).numpy(), expected, atol=1e-12)
    B = from_matrix(matrix.real, in_shape=(2, 3))
    np.testing.assert_allclose(B(x.imag).numpy(), matrix.real @ x.imag.resolve_neg().numpy().ravel(), atol=1e-12)


@pytest.mark.parametrize("A", [Downsample(2, (4, 4)), ParallelBeam((4, 4), 3)], ids=["torch", "numba"])
def test_functional_transforms(A):
    x, r = torch.randn(5, 4, 4, dtype=torch.float64), torch.randn(A.out_shape, dtype=torch.float64)
    _, pushed = torch.func.jvp(A, (x,), (x,))
    torch.testing.assert_close(pushed, A(x))
    each = torch.func.grad(lambda x: (A(x) * r).sum())(x[0])
    torch.testing.assert_close(each, A.adjoint(r))


def test_vmap_over_a_numpy_body():
    A = ParallelBeam((4, 4), 3)
    x = torch.randn(4, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(A, in_dims=1)(x), A(x.movedim(1, 0)))


def test_memory_is_shared_with_the_numpy_body_and_aliases_are_not_returned():
    seen = []

    def forward(x):
        seen.append(x.ctypes.data)
        return x

    A = from_callables(forward, lambda y: y, (3,), (3,))
    x = torch.ones(3)
    y = A(x)
    assert seen == [x.data_ptr()]
    y.zero_()
    assert x.sum() == 3


def test_other_devices_are_refused_with_the_remedy():
    A = from_matrix(np.ones((2, 3)))
    with pytest.raises(OperatorError, match=r"on meta.*x\.cpu\(\)"):
        A(torch.ones(3, device="meta"))


def test_an_operator_brings_its_own_body_for_other_devices():
    class Doubled(LinearOperator):
        torch_body = False

        def _apply_torch(self, x):
            return 2 * x

        _adjoint_torch = _apply_torch

    y = Doubled((3,), (3,))(torch.ones(3, device="meta"))
    assert y.device.type == "meta"


class Squared(NonlinearOperator):
    """``y = x^2``, its body written for both libraries."""

    def _apply(self, x):
        return x * x


class SquaredNumpy(Squared):
    torch_body = False

    def _vjp(self, x, r):
        return 2 * x * r

    def _jvp(self, x, d):
        return 2 * x * d


@pytest.mark.parametrize("kind", [Squared, SquaredNumpy])
def test_nonlinear_operators(kind):
    A = kind((3,), (3,))
    x, r = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, -1.0])
    np.testing.assert_allclose(A.vjp(x, r), 2 * x * r)
    t = torch.from_numpy(x).requires_grad_()
    assert torch.autograd.gradcheck(A, (t,))
    (gradient,) = torch.autograd.grad(A(t), t, torch.from_numpy(r))
    np.testing.assert_allclose(gradient.numpy(), 2 * x * r)


def test_a_nonlinear_operator_without_derivative_says_so():
    class Opaque(Squared):
        torch_body = False

    with pytest.raises(OperatorError, match="_vjp"):
        Opaque((3,), (3,)).vjp(np.ones(3), np.ones(3))


def test_no_gradient_is_tracked_where_none_is_asked():
    assert not ParallelBeam((4, 4), 3)(torch.ones(4, 4)).requires_grad
    assert not Blur(np.ones((3, 3)), (4, 4))(torch.ones(4, 4)).requires_grad


def test_a_network_trains_through_a_numba_projector():
    torch.manual_seed(0)
    A = ParallelBeam((8, 8), 12)
    truth, code = torch.rand(8, 8), torch.randn(4)
    layer = torch.nn.Linear(4, 64)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = (A(layer(code).reshape(8, 8)) - A(truth)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_adjoint_through_numpy_is_the_adjoint():
    A = from_matrix(np.arange(6.0).reshape(2, 3))
    y = torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(through_numpy(A, y, adjoint=True), torch.full((3,), -3.0, dtype=torch.float64))


def test_mask_stops_gradients_at_unmeasured_pixels_even_of_nan():
    mask = np.array([True, False])
    x = torch.tensor([1.0, float("nan")], requires_grad=True)
    y = Mask(mask)(x)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]
