"""k-space on any trajectory: against the sum it stands for, and against the Cartesian operator."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recon import check_operator
from recon.operators import CartesianMRI, NonCartesianMRI
from recon.operators._toeplitz import Toeplitz
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

RNG = np.random.default_rng(0)


def complex_normal(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def anywhere(samples, shape):
    return (RNG.random((*samples, len(shape))) - 0.5) * np.array(shape)


def direct_matrix(trajectory, shape):
    """``e^(-2 pi i k . (n - N // 2) / N) / sqrt(N)``, a row for each sample."""
    matrix = np.ones((trajectory.reshape(-1, len(shape)).shape[0], 1))
    for k, n in zip(trajectory.reshape(-1, len(shape)).T, shape, strict=True):
        waves = np.exp(-2j * np.pi * np.outer(k, np.arange(n) - n // 2) / n) / np.sqrt(n)
        matrix = (matrix[:, :, None] * waves[:, None, :]).reshape(len(k), -1)
    return matrix


@pytest.mark.parametrize("shape", [(8, 6), (7, 9), (16, 5), (4, 5, 6), (11,)])
@pytest.mark.parametrize("eps", [1e-4, 1e-6, 1e-12])
def test_it_is_the_direct_sum(shape, eps):
    trajectory = anywhere((3, 7), shape)
    x, y, weights = complex_normal(*shape), complex_normal(3, 7), RNG.random((3, 7))
    matrix = np.sqrt(weights).reshape(-1, 1) * direct_matrix(trajectory, shape)
    A = NonCartesianMRI(trajectory, shape, weights=weights, eps=eps)
    expected = [(matrix @ x.ravel()).reshape(3, 7), (matrix.conj().T @ y.ravel()).reshape(shape)]
    for found, truth in zip((A(x), A.adjoint(y)), expected, strict=True):
        assert np.linalg.norm(found - truth) < 10 * eps * np.linalg.norm(truth)
    gram = (matrix.conj().T @ (matrix @ x.ravel())).reshape(shape)
    assert np.linalg.norm(A.gram(x) - gram) < 10 * eps * np.linalg.norm(gram)


def test_each_coil_sees_the_image_times_its_sensitivity():
    trajectory, coils, x = anywhere((20,), (7, 8)), complex_normal(3, 7, 8), complex_normal(7, 8)
    matrix = direct_matrix(trajectory, (7, 8))
    A = NonCartesianMRI(trajectory, (7, 8), coils, eps=1e-11)
    assert A.out_shape == (3, 20)
    np.testing.assert_allclose(A(x), [matrix @ (s * x).ravel() for s in coils], atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (4, 3, 6)])
def test_on_the_grid_it_is_the_cartesian_operator(shape):
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), axis=-1)
    coils, x = complex_normal(2, *shape), complex_normal(*shape)
    cartesian = CartesianMRI(np.ones(shape, bool), coils)
    np.testing.assert_allclose(NonCartesianMRI(grid, shape, coils, eps=1e-12)(x), cartesian(x), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_at_full_size_forward_and_adjoint_are_adjoint_and_gram_is_both(dtype):
    trajectory, coils = anywhere((3000,), (64, 60)), complex_normal(3, 64, 60)
    report = check_operator(NonCartesianMRI(trajectory, (64, 60), coils), dtypes=[dtype])
    figures = {figure.name: figure.value for figure in report.figures}
    name = np.dtype(dtype).name
    assert figures[f"adjoint error, {name}"] < 1e-7
    assert figures[f"gram, {name}"] < 1e-5


def test_gram_of_tensors_is_that_of_arrays_with_gradients():
    import torch

    A = NonCartesianMRI(anywhere((30,), (6, 9)), (6, 9), complex_normal(2, 6, 9))
    x = complex_normal(2, 6, 9)
    tensor = torch.from_numpy(x).requires_grad_()
    out = A.gram(tensor)
    np.testing.assert_allclose(out.detach().numpy(), A.gram(x), atol=1e-12)
    (gradient,) = torch.autograd.grad(out, tensor, torch.from_numpy(x))
    np.testing.assert_allclose(gradient.numpy(), A.gram(x), atol=1e-12)


def test_calls_from_several_threads_and_copies_give_the_same_bits():
    A = NonCartesianMRI(anywhere((200,), (16, 16)), (16, 16), complex_normal(4, 16, 16))
    images = complex_normal(8, 16, 16)
    expected = A.adjoint(A(images))
    copy = pickle.loads(pickle.dumps(A))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: A.adjoint(copy(x)), images))
    np.testing.assert_array_equal(found, expected)


def test_with_sampling_measures_less():
    keep = RNG.random((5, 8)) < 0.5
    A = NonCartesianMRI(anywhere((5, 8), (9, 8)), (9, 8), complex_normal(2, 9, 8), weights=RNG.random((5, 8)))
    less, x = A.with_sampling(keep), complex_normal(9, 8)
    assert isinstance(less, NonCartesianMRI)
    np.testing.assert_array_equal(less.sampling[1], keep)
    np.testing.assert_allclose(less(x), keep * A(x), atol=1e-12)
    coils_apart = A.with_sampling(np.stack([keep, ~keep]))
    np.testing.assert_array_equal(coils_apart(x)[1], ~keep * A(x)[1])


def test_toeplitz_is_a_convolution_with_all_lags():
    kernel = complex_normal(8, 6)
    kernel += np.roll(kernel[::-1, ::-1], (1, 1), (0, 1)).conj()  # about lag 0 at (4, 3); lags -4 and -3 do not count
    x, T = complex_normal(4, 3), Toeplitz(kernel)
    rows, columns = np.ogrid[:4, :3]
    expected = [[(kernel[4 + i - rows, 3 + j - columns] * x).sum() for j in range(3)] for i in range(4)]
    np.testing.assert_allclose(T(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trajectory": np.zeros((4, 3))}, ShapeError, r"\(4, 3\); expected \(..., 2\)"),
        ({"trajectory": np.zeros(2)}, ShapeError, "trajectory has shape"),
        ({"trajectory": np.zeros((4, 2), complex)}, DTypeError, "real positions"),
        ({"trajectory": np.full((4, 2), np.nan)}, NonFiniteError, "trajectory"),
        ({"trajectory": np.full((4, 2), 20.0)}, ArgumentError, "at most 16 for 32 pixels"),
        ({"trajectory": np.full((4, 2), np.pi)}, ArgumentError, r"radians a pixel by N / \(2 pi\)"),
        ({"coils": np.ones((2, 4, 4))}, ShapeError, "coils has shape"),
        ({"weights": np.ones(3)}, ShapeError, r"expected \(4,\)"),
        ({"weights": -np.ones(4)}, ArgumentError, "at least 0"),
        ({"weights": np.zeros(4)}, ArgumentError, "not all of them 0"),
        ({"weights": np.ones(4) * 1j}, DTypeError, "weights"),
        ({"eps": 1e-15}, ArgumentError, "eps is 1e-15"),
        ({"eps": "fine"}, DTypeError, "eps"),
        ({"shape": (2, 2, 2, 2)}, ShapeError, "one to three axes"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        NonCartesianMRI(**{"trajectory": np.full((4, 2), 9.0), "shape": (32, 32), **arguments})
