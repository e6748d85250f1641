"""Operators from other libraries and for them: the same products, both ways."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator as ScipyLinearOperator
from scipy.sparse.linalg import cg, lsqr, svds

from recon import check_operator, reconstruct
from recon._operator_checks import dense
from recon.operators import (
    Blur,
    CartesianMRI,
    Downsample,
    ParallelBeam,
    from_deepinv,
    from_pylops,
    from_scipy,
    from_sigpy,
    from_torch,
)
from solvers.errors import DTypeError, OperatorError, ShapeError

RNG = np.random.default_rng(0)


def _coarser(x):
    return x[..., ::2] + 2 * x[..., 1::2]


def _transform(x):
    return torch.fft.fft2(x)


def _squares(x):
    return x**2


# --- as scipy -------------------------------------------------------------------------------------------------------

VIEWS = {
    "blur": lambda: Blur(RNG.random((3, 3)), (6, 7)),
    "downsample": lambda: Downsample(2, (6, 8)),
    "beam": lambda: ParallelBeam((6, 7), 5),
    "mri": lambda: CartesianMRI(RNG.random((5, 6)) < 0.7),
}


@pytest.mark.parametrize("name", VIEWS)
def test_scipy_sees_the_matrix(name):
    A = VIEWS[name]()
    view = A.as_scipy()
    assert isinstance(view, ScipyLinearOperator)
    matrix = dense(A, view.dtype)
    assert view.shape == matrix.shape
    m, n = view.shape
    np.testing.assert_allclose(view @ np.eye(n), matrix, atol=1e-12)
    np.testing.assert_allclose(view.H @ np.eye(m), matrix.conj().T, atol=1e-12)
    x, y = RNG.standard_normal(n), RNG.standard_normal((m, 1))
    np.testing.assert_allclose(view @ x, matrix @ x, atol=1e-12)
    np.testing.assert_allclose(view.rmatvec(y), matrix.conj().T @ y, atol=1e-12)
    np.testing.assert_allclose(view @ (1j * x), 1j * (matrix @ x), atol=1e-12)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(view)) @ x, view @ x)


def test_scipy_solvers_take_it():
    A = Blur(np.array([[0.1, 0.2, 0.1], [0.2, 1.0, 0.2], [0.1, 0.2, 0.1]]), (8, 9))
    view, matrix = A.as_scipy(), dense(A)
    y = RNG.standard_normal(72)
    np.testing.assert_allclose(lsqr(view, y, atol=1e-12, btol=1e-12)[0], np.linalg.solve(matrix, y), atol=1e-8)
    solution, code = cg(view.H @ view, y, rtol=1e-12, maxiter=2000)
    assert code == 0
    np.testing.assert_allclose(matrix.T @ matrix @ solution, y, atol=1e-8)
    np.testing.assert_allclose(svds(view, k=1)[1][0], A.norm(), rtol=1e-10)


def test_scipy_view_keeps_single_precision():
    A = ParallelBeam((6, 7), 5)
    assert (A.as_scipy(np.float32) @ np.ones(42, np.float32)).dtype == np.float32
    assert A.as_scipy(np.float32).dtype == np.float32
    with pytest.raises(DTypeError, match="works in float32 or float64"):
        A.as_scipy(np.complex64)
    with pytest.raises(DTypeError, match="complex64 or complex128"):
        CartesianMRI(np.ones((3, 3))).as_scipy(np.float32)


def test_there_and_back_is_the_same_operator():
    A = ParallelBeam((6, 7), 5)
    B = from_scipy(A.as_scipy(), A.in_shape, A.out_shape)
    x = RNG.standard_normal((2, 6, 7))
    np.testing.assert_array_equal(B(x), A(x))


# --- torch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("function", [_coarser, _transform])
def test_torch_functions_pass_the_battery(function, batched):
    check_operator(from_torch(function, (3, 4), batched=batched))


def test_torch_function_has_its_adjoint():
    A = from_torch(_coarser, (3, 4))
    y = RNG.standard_normal((3, 2))
    expected = np.stack([y, 2 * y], axis=-1).reshape(3, 4)
    np.testing.assert_allclose(A.adjoint(y), expected)
    F = from_torch(_transform, (3, 4))
    assert F.kind == "complex"
    x = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
    np.testing.assert_allclose(F(x), np.fft.fft2(x), atol=1e-12)
    np.testing.assert_allclose(F.adjoint(x), 12 * np.fft.ifft2(x), atol=1e-12)


def test_torch_module_in_single_precision_serves_both():
    layer = torch.nn.Conv2d(1, 2, 3, bias=False).requires_grad_(False)
    A = from_torch(layer, (1, 6, 7), batched=True)
    x = RNG.standard_normal((4, 1, 6, 7))
    expected = layer(torch.from_numpy(x).float()).numpy()
    assert A(x).dtype == np.float64
    np.testing.assert_allclose(A(x), expected, atol=1e-5)
    check_operator(A, dtypes=["float32"])
    assert reconstruct(A(x[0]), A, prior="tikhonov", strength=1e-3, noise=0.01).shape == (1, 6, 7)


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (_squares, OperatorError, "not linear"),
        (lambda x: x + 1, OperatorError, "not linear"),
        (lambda x: (x, x), OperatorError, "fails on a tensor"),
        (lambda x: x @ torch.ones(7, 2, dtype=x.dtype), OperatorError, r"fails on a tensor of shape \(1, 3, 4\)"),
        (3, DTypeError, "function is 3"),
        (torch.nn.Conv2d, DTypeError, "expected a function"),
    ],
)
def test_functions_that_do_not_fit_say_why(function, error, match):
    with pytest.raises(error, match=match):
        from_torch(function, (3, 4))


# --- look-alikes: no other library is needed to read its objects ----------------------------------------------------


class _Lops:
    """The attributes of a PyLops operator."""

    def __init__(self, matrix, dims, dimsd, clinear=True):
        self.matrix, self.dims, self.dimsd, self.clinear = matrix, dims, dimsd, clinear
        self.shape, self.dtype = matrix.shape, matrix.dtype

    def matvec(self, x):
        return self.matrix @ x

    def rmatvec(self, y):
        return self.matrix.conj().T @ y


class _Physics:
    """The attributes of a deepinv physics: rows become their sums."""

    def A(self, x, **kwargs):
        return x.sum(-1)

    def A_adjoint(self, y, **kwargs):
        return y[..., None].expand(*y.shape, 5)


class _Linop:
    """The attributes of a SigPy Linop: a transform."""

    ishape, oshape = (4, 5), (4, 5)

    def __init__(self, inverse=False):
        self.inverse = inverse

    def __call__(self, x):
        return (np.fft.ifftn if self.inverse else np.fft.fftn)(x, norm="ortho")

    @property
    def H(self):
        return _Linop(not self.inverse)


def test_pylops_shapes_are_kept():
    matrix = RNG.standard_normal((6, 12))
    A = from_pylops(_Lops(matrix, (3, 4), (2, 3)))
    assert (A.in_shape, A.out_shape) == ((3, 4), (2, 3))
    check_operator(A)
    np.testing.assert_allclose(dense(A), matrix)
    assert from_pylops(_Lops(matrix + 0j, (3, 4), (2, 3))).kind == "complex"
    with pytest.raises(OperatorError, match="real=False"):
        from_pylops(_Lops(matrix, (3, 4), (2, 3), clinear=False))
    with pytest.raises(DTypeError, match="it has no dims, dimsd"):
        from_pylops(sparse.eye_array(3))


def test_deepinv_measures_batches():
    A = from_deepinv(_Physics(), (1, 4, 5))
    assert (A.in_shape, A.out_shape) == ((1, 4, 5), (1, 4))
    check_operator(A)
    assert isinstance(A(torch.ones(2, 3, 1, 4, 5)), torch.Tensor)
    with pytest.raises(ShapeError, match="in_shape"):
        from_deepinv(_Physics(), ())
    with pytest.raises(DTypeError, match="it has no A, A_adjoint"):
        from_deepinv(torch.nn.Identity(), (1, 4, 5))


def test_sigpy_gives_its_adjoint():
    A = from_sigpy(_Linop())
    check_operator(A)
    assert A.norm() == pytest.approx(1.0, rel=0.02)
    with pytest.raises(DTypeError, match="it is a class"):
        from_sigpy(_Linop)


def test_reconstruct_recognises_them():
    matrix = np.abs(RNG.standard_normal((6, 12)))
    for thing, y in ((_Lops(matrix, (3, 4), (2, 3)), np.ones((2, 3))), (_Linop(), np.ones((4, 5)) + 0j)):
        x = reconstruct(y, thing, prior="tikhonov", strength=0.1, noise=0.01)
        assert x.shape == {6: (3, 4), 20: (4, 5)}[y.size]
    x = reconstruct(np.ones((1, 4)), _Physics(), x0=np.zeros((1, 4, 5)), prior="tikhonov", strength=0.1, noise=0.01)
    np.testing.assert_allclose(x, 1 / 5.1, rtol=1e-3)
    with pytest.raises(ShapeError, match="in_shape is missing"):
        reconstruct(np.ones((1, 4)), _Physics())


# --- the libraries themselves, where they are installed -------------------------------------------------------------


def test_pylops():
    pylops = pytest.importorskip("pylops")
    A = from_pylops(pylops.FirstDerivative((6, 7), axis=0, kind="forward"))
    check_operator(A)
    x = RNG.standard_normal((6, 7))
    np.testing.assert_allclose(A(x)[:-1], np.diff(x, axis=0))
    blur = Blur(RNG.random((3, 3)), (6, 7))
    back = pylops.aslinearoperator(blur.as_scipy())
    np.testing.assert_allclose((back * back.H) @ x.ravel(), blur(blur.adjoint(x)).ravel(), atol=1e-12)
    with pytest.raises(OperatorError, match="real=False"):
        from_pylops(pylops.signalprocessing.FFT((8,), real=True))


def test_deepinv():
    deepinv = pytest.importorskip("deepinv")
    kernel = torch.rand(1, 1, 3, 3)
    A = from_deepinv(deepinv.physics.BlurFFT((1, 8, 9), filter=kernel), (1, 8, 9))
    check_operator(A, dtypes=["float32"])
    x = RNG.standard_normal((2, 1, 8, 9)).astype(np.float32)
    np.testing.assert_allclose(A(x), Blur(kernel[0, 0].numpy(), (8, 9))(x), atol=1e-5)
    mri = from_deepinv(deepinv.physics.MRI(mask=torch.ones(6, 7), img_size=(6, 7)), (2, 6, 7))
    check_operator(mri, dtypes=["float32"])
    with pytest.raises(OperatorError, match="in_shape of one image"):
        from_deepinv(deepinv.physics.Downsampling((1, 8, 8), filter="bicubic", factor=2), (8, 8))


def test_sigpy():
    sigpy = pytest.importorskip("sigpy")
    A = from_sigpy(sigpy.linop.FFT((6, 7)))
    check_operator(A, dtypes=["complex64"])
    x = RNG.standard_normal((6, 7)) + 0j
    np.testing.assert_allclose(A(x), CartesianMRI(np.ones((6, 7)))(x), atol=1e-6)
