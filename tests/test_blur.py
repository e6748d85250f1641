"""Blur: boundaries, methods and closed forms, against scipy.ndimage and explicit matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from operators_list import OPERATORS

from recon import check_operator
from recon._operator_checks import dense
from recon.operators import Blur, Identity
from recon.operators._borders import extend, fold
from recon.operators._convolution import convolution_for, rank_one
from recon.operators._cosine_filter import is_symmetric
from recon.operators._tap_sums import ROWS
from solvers.errors import ArgumentError, OptionError

RNG = np.random.default_rng(0)
METHODS = ("fft", "direct", "separable", "rows")
NDIMAGE = {"periodic": "wrap", "reflecting": "reflect"}


def outer(*supports):
    """A separable PSF that is symmetric along no axis."""
    psf = np.ones(())
    for k in supports:
        psf = np.multiply.outer(psf, RNG.random(k) + 0.1)
    return psf


def symmetric(*supports):
    psf = RNG.standard_normal(supports)
    for axis in range(len(supports)):
        psf = psf + np.flip(psf, axis)
    return psf


# --- against scipy --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_reflecting_blur_is_ndimage_convolve_with_reflect(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    support = [data.draw(st.integers(1, n)) for n in shape]
    psf, x = RNG.standard_normal(support), RNG.standard_normal(shape)
    expected = scipy.ndimage.convolve(x, psf, mode="reflect")
    np.testing.assert_allclose(Blur(psf, shape, boundary="reflecting")(x), expected, atol=1e-12)


@pytest.mark.parametrize("support", [(3, 5), (7, 9), (1, 3), (4, 6), (3,), (3, 1, 5)])
def test_symmetric_psfs_take_the_cosine_transform_and_its_closed_form(support):
    psf = symmetric(*[k - 1 + k % 2 for k in support])
    if support == (4, 6):  # an even PSF is symmetric about its centre if it starts with zeros
        psf = np.pad(psf, [(1, 0), (1, 0)])
    shape = tuple(n + 5 for n in psf.shape)
    A = Blur(psf, shape, boundary="reflecting")
    assert A.has_solve_shifted
    x, matrix = RNG.standard_normal(shape), dense(A)
    np.testing.assert_allclose(A(x), scipy.ndimage.convolve(x, psf, mode="reflect"), atol=1e-12)
    solved = np.linalg.solve(matrix.T @ matrix + 0.3 * np.eye(x.size), x.ravel()).reshape(shape)
    np.testing.assert_allclose(A.solve_shifted(x, 0.3), solved, atol=1e-11)
    np.testing.assert_allclose(A.norm(), np.linalg.norm(matrix, 2), rtol=1e-12)


def test_other_psfs_have_no_closed_form_under_reflection():
    A = Blur(outer(3, 4), (9, 8), boundary="reflecting")
    assert not A.has_solve_shifted
    assert A.transfer() is None
    assert A.fourier_gram() is None


@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "unknown"])
@pytest.mark.parametrize("support", [(5, 4), (1, 6), (7, 1), (2, 3, 4), (9, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_all_methods_give_the_same(boundary, support, dtype):
    psf = outer(*support)
    shape = tuple(k + 6 for k in support)
    operators = [Blur(psf, shape, boundary=boundary, method=method) for method in METHODS]
    x = RNG.standard_normal((2, *operators[0].in_shape)) + 1j * RNG.standard_normal((2, *operators[0].in_shape))
    y = RNG.standard_normal((2, *shape)) + 1j * RNG.standard_normal((2, *shape))
    x, y = (a.astype(dtype) if np.dtype(dtype).kind == "c" else a.real.astype(dtype) for a in (x, y))
    limit = 50 * np.finfo(dtype).eps * np.abs(psf).sum()
    for other in operators[1:]:
        np.testing.assert_allclose(other(x), operators[0](x), atol=limit)
        np.testing.assert_allclose(other.adjoint(y), operators[0].adjoint(y), atol=limit)
        assert other(x).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "unknown"])
def test_every_method_passes_the_battery(method, boundary):
    check_operator(Blur(outer(4, 3), (7, 8), boundary=boundary, method=method))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_the_battery_on_volumes(method):
    check_operator(Blur(outer(3, 1, 2), (5, 4, 3), boundary="reflecting", method=method))


def test_direct_sums_skip_what_is_zero():
    psf = np.zeros((6, 7))
    psf[1, 5], psf[4, 2] = 0.3, -2.0
    x = RNG.standard_normal((20, 30))
    A = Blur(psf, (20, 30), method="direct")
    assert len(A._sum._convolution._stops) == 2 * ROWS
    np.testing.assert_allclose(A(x), scipy.ndimage.convolve(x, psf, mode="wrap"), atol=1e-13)


@pytest.mark.parametrize("boundary", ["reflecting", "unknown"])
@pytest.mark.parametrize("support", [(4, 3), (1, 5), (2, 3, 4)])
def test_rows_that_make_several_jobs_give_the_same(boundary, support):
    """Each job transforms some rows of its neighbour's once more."""
    shape = (5,) * (len(support) - 2) + (997, 11)
    psf = outer(*support)
    transforms, rows = (Blur(psf, shape, boundary=boundary, method=method) for method in ("fft", "rows"))
    x, y = RNG.standard_normal(rows.in_shape), RNG.standard_normal(shape)
    np.testing.assert_allclose(rows(x), transforms(x), atol=1e-12)
    np.testing.assert_allclose(rows.adjoint(y), transforms.adjoint(y), atol=1e-12)


FAMILIES = ("blur", "downsample", "resample", "shift", "frames", "bayer")


@pytest.mark.parametrize("name", [name for name in OPERATORS if any(family in name for family in FAMILIES)])
def test_tensors_stay_on_their_device(name):
    """The meta device computes no values, but refuses to meet an array of another device."""
    torch = pytest.importorskip("torch")
    A = OPERATORS[name]()
    if A.torch_body:
        x = torch.zeros(A.in_shape, device="meta")
        assert A(x).device == A.adjoint(A(x)).device == A.gram(x).device == x.device


# --- the choice of the method ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("psf", "shape", "expected"),
    [
        (outer(31, 31), (1024, 1024), "separable"),
        (outer(1, 5), (512, 512), "direct"),
        (outer(3, 3), (32, 32), "fft"),
        (outer(5), (1_000_000,), "fft"),
        (outer(2, 2, 2, 2), (32, 32, 32, 32), "fft"),
        (RNG.random((255, 255)), (512, 512), "fft"),
        (RNG.random((15, 15)), (1024, 1024), "direct"),
        (np.eye(31), (1024, 1024), "direct"),
    ],
)
def test_auto_goes_by_size(psf, shape, expected):
    assert convolution_for(psf, shape, "auto")[1] == expected


def test_beyond_borders_columns_are_better_summed_than_transformed():
    psf = RNG.random((31, 31))
    methods = [convolution_for(psf, (1024, 1024), "auto", periodic=periodic)[1] for periodic in (True, False)]
    assert methods == ["fft", "rows"]


def test_rank_one_finds_the_profiles_or_says_no():
    psf = outer(4, 1, 5)
    a, b, c = rank_one(psf)
    np.testing.assert_allclose(np.einsum("i,j,k->ijk", a, b, c), psf, rtol=1e-14)
    assert rank_one(psf + 1e-12 * RNG.random(psf.shape)) is None


def test_methods_that_do_not_suit_say_so():
    with pytest.raises(ArgumentError, match="not the outer product"):
        Blur(np.eye(3), (8, 8), method="separable")
    with pytest.raises(ArgumentError, match="up to three"):
        Blur(np.ones((2, 2, 2, 2)), (4, 4, 4, 4), method="direct")
    with pytest.raises(OptionError, match="Did you mean 'direct'"):
        Blur(np.ones((3, 3)), (8, 8), method="directly")
    with pytest.raises(OptionError, match="Did you mean 'reflecting'"):
        Blur(np.ones((3, 3)), (8, 8), boundary="reflect")


# --- borders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["wrap", "symmetric", "constant"])
def test_fold_is_the_transpose_of_extend(mode):
    x, z = RNG.standard_normal((2, 4, 5)), RNG.standard_normal((2, 4 + 3, 5 + 5))
    np.testing.assert_allclose(
        np.vdot(extend(x, (1, 5), (2, 0), mode), z), np.vdot(x, fold(z, (1, 5), (2, 0), mode)), rtol=1e-12
    )


def test_symmetry_is_about_the_centre_of_every_axis():
    assert is_symmetric(symmetric(3, 5))
    assert is_symmetric(np.ones((1, 1)))
    assert not is_symmetric(np.ones((2, 3)))  # its centre is the second entry
    assert not is_symmetric(np.tri(3))


def test_a_constant_image_keeps_its_brightness_whatever_the_boundary():
    psf = outer(5, 4)
    psf /= psf.sum()
    for boundary in ("periodic", "reflecting", "unknown"):
        A = Blur(psf, (12, 11), boundary=boundary)
        np.testing.assert_allclose(A(np.ones(A.in_shape)), 1, rtol=1e-12)


def test_a_delta_is_the_identity():
    x = RNG.standard_normal((7, 6))
    for boundary in ("periodic", "reflecting"):
        np.testing.assert_allclose(Blur(np.ones((1, 1)), (7, 6), boundary)(x), Identity((7, 6))(x), atol=1e-14)
