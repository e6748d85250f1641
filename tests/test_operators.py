"""Every operator keeps the contract, and each measures what its physics says."""

from __future__ import annotations

import doctest
import importlib
import pickle

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from operators_list import OPERATORS

from recon import check_operator
from recon._operator_checks import dense
from recon.operators import (
    Blur,
    CartesianMRI,
    Downsample,
    FiniteDifference,
    Identity,
    Mask,
    ParallelBeam,
    from_callables,
    from_matrix,
    from_scipy,
    stack,
)
from recon.operators.pointwise import Crop
from recon.operators.wrappers import as_operator
from solvers.errors import (
    ArgumentError,
    DTypeError,
    NonFiniteError,
    OperatorError,
    OptionError,
    ShapeError,
)

RNG = np.random.default_rng(0)
MODULES = [
    "recon._destripe",
    "recon.check",
    "recon.coils",
    "recon.enhancement",
    "recon.gaps",
    "recon.operators.affine",
    "recon.operators.base",
    "recon.operators.bayer",
    "recon.operators.blur",
    "recon.operators.bridges",
    "recon.operators.camera",
    "recon.operators.coded_aperture",
    "recon.operators.colour_mixing",
    "recon.operators.cone_beam",
    "recon.operators.destripe",
    "recon.operators.downsample",
    "recon.operators.diffraction",
    "recon.operators.dynamic_mri",
    "recon.operators.filters",
    "recon.operators.fan_beam",
    "recon.operators.fourier_slice",
    "recon.operators.finite_difference",
    "recon.operators.flicker",
    "recon.operators.hadamard",
    "recon.operators.haze",
    "recon.operators.illumination",
    "recon.operators.joint_mri",
    "recon.operators.mri",
    "recon.operators.multi_frame",
    "recon.operators.non_cartesian",
    "recon.operators.nonlinear",
    "recon.operators.pansharpening",
    "recon.operators.parallel_beam_3d",
    "recon.operators.phase",
    "recon.operators.pointwise",
    "recon.operators.rearrange",
    "recon.operators.radio_interferometry",
    "recon.operators.random_matrix",
    "recon.operators.real_image",
    "recon.operators.relaxometry",
    "recon.operators.resample",
    "recon.operators.shift",
    "recon.operators.spectral",
    "recon.operators.unknown",
    "recon.operators.transmission",
    "recon.operators.varying_blur",
    "recon.operators.wrappers",
    "solvers.step_sizes",
]


def complex_normal(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


# --- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_passes_the_battery(name):
    check_operator(OPERATORS[name]())


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_pickles(name):
    operator = OPERATORS[name]()
    copy = pickle.loads(pickle.dumps(operator))
    assert (copy.in_shape, copy.out_shape, repr(copy)) == (operator.in_shape, operator.out_shape, repr(operator))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(
        importlib.import_module(name),
        extraglobs={"np": np},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0


# --- blur -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_periodic_blur_is_ndimage_convolve_with_wrap(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    support = [data.draw(st.integers(1, n)) for n in shape]
    rng = np.random.default_rng(0)
    psf, x = rng.standard_normal(support), rng.standard_normal(shape)
    expected = scipy.ndimage.convolve(x, psf, mode="wrap")
    np.testing.assert_allclose(Blur(psf, shape)(x), expected, atol=1e-12)


@pytest.mark.parametrize("support", [(3, 3), (4, 5), (1, 6), (2, 2), (9, 11)])
def test_unknown_boundary_is_a_valid_convolution(support):
    psf = RNG.standard_normal(support)
    A = Blur(psf, (12, 13), boundary="unknown")
    assert all(n >= m + k - 1 for n, m, k in zip(A.in_shape, (12, 13), support, strict=True))
    x = RNG.standard_normal(A.in_shape)
    expected = scipy.signal.convolve(x, psf, mode="valid")[:12, :13]
    np.testing.assert_allclose(A(x), expected, atol=1e-12)


def test_interior_of_an_unknown_boundary_is_the_frame_of_the_measurement():
    psf = RNG.standard_normal((4, 3))
    A = Blur(psf, (12, 13), boundary="unknown")
    x = RNG.standard_normal(A.in_shape)
    assert x[A.interior].shape == A.out_shape
    np.testing.assert_allclose(A(x), scipy.ndimage.convolve(x, psf, mode="wrap")[A.interior], atol=1e-12)
    assert Blur(psf, (12, 13)).interior == (slice(0, 12), slice(0, 13))


def test_unknown_boundary_factors_into_a_crop_of_a_periodic_blur():
    outer, inner = Blur(RNG.standard_normal((3, 3)), (8, 8), boundary="unknown").factors()
    assert isinstance(outer, Crop)
    assert isinstance(inner, Blur)
    assert inner.boundary == "periodic"


@pytest.mark.parametrize(
    ("psf", "shape", "error", "parts"),
    [
        (np.zeros((3, 3)), (8, 8), ArgumentError, ["psf", "zero", "Pass"]),
        (np.ones((9, 3)), (8, 8), ShapeError, ["(9, 3)", "(8, 8)", "Crop"]),
        (np.ones(3), (8, 8), ShapeError, ["1 axes", "expected 2"]),
        (np.ones((3, 3)) * 1j, (8, 8), DTypeError, ["complex128", "psf.real"]),
        (np.full((3, 3), np.nan), (8, 8), NonFiniteError, ["9", "(0, 0)"]),
        (np.array([["a"]]), (8, 8), DTypeError, ["psf", "real"]),
        (np.ones((3, 3)), (8, 0), ShapeError, ["shape", "length 0"]),
        (np.ones((3, 3)), "ab", DTypeError, ["shape", "integers"]),
        (np.ones((3, 3)), (8.0, 8), DTypeError, ["shape", "integers"]),
        (np.ones((3, 3)), (True, 8), DTypeError, ["shape", "integers"]),
    ],
)
def test_wrong_psf_says_what_is_wrong(psf, shape, error, parts):
    with pytest.raises(error) as caught:
        Blur(psf, shape)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_unknown_boundary_name_gets_a_suggestion():
    with pytest.raises(OptionError, match="Did you mean 'periodic'"):
        Blur(np.ones((3, 3)), (8, 8), boundary="periodical")


# --- downsample -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "shape"), [(2, (8, 6)), (3, (9, 6)), ((4, 1), (8, 5)), (2, (4, 6, 2)), (5, (10,))])
def test_downsample_averages_blocks(factor, shape):
    A = Downsample(factor, shape)
    x = RNG.standard_normal(shape)
    blocks = [n for m, f in zip(A.out_shape, A.factor, strict=True) for n in (m, f)]
    expected = x.reshape(blocks).mean(axis=tuple(range(1, 2 * len(shape), 2)))
    np.testing.assert_allclose(A(x), expected, atol=1e-13)


def test_downsample_with_a_psf_decimates_the_blur():
    psf = RNG.standard_normal((5, 3))
    x = RNG.standard_normal((9, 12))
    np.testing.assert_allclose(Downsample(3, (9, 12), psf)(x), Blur(psf, (9, 12))(x)[1::3, 1::3], atol=1e-12)


def test_downsample_says_which_shape_would_do():
    with pytest.raises(ShapeError, match=r"shape \(8, 9\)"):
        Downsample((2, 3), (9, 10))
    with pytest.raises(DTypeError, match="factor"):
        Downsample(2.5, (8, 8))
    with pytest.raises(ArgumentError, match="factor"):
        Downsample(0, (8, 8))
    with pytest.raises(ShapeError, match="one for each"):
        Downsample((2, 2, 2), (8, 8))


# --- MRI ------------------------------------------------------------------------------------------------------------


def centred_dft(n):
    i = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(i, i) / n) / np.sqrt(n)


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (4, 9), (1, 6)])
def test_mri_is_the_centred_orthonormal_transform(shape):
    mask = RNG.random(shape) < 0.6
    mask[0, 0] = True
    coils = complex_normal(3, *shape)
    x = complex_normal(*shape)
    transform = [centred_dft(n) for n in shape]
    expected = mask * np.einsum("ij,kl,jl->ik", *transform, x)
    np.testing.assert_allclose(CartesianMRI(mask)(x), expected, atol=1e-12)
    expected = mask * np.einsum("ij,kl,cjl->cik", *transform, coils * x)
    np.testing.assert_allclose(CartesianMRI(mask, coils)(x), expected, atol=1e-12)


def test_mri_reads_exact_zeros_where_it_does_not_measure():
    mask = RNG.random((9, 8)) < 0.5
    y = CartesianMRI(mask)(RNG.standard_normal((9, 8)))
    assert not y[~mask].any()
    assert y[mask].all()


def test_mri_with_sampling_measures_less():
    mask, less = RNG.random((9, 8)) < 0.7, RNG.random((9, 8)) < 0.7
    A = CartesianMRI(mask, complex_normal(2, 9, 8)).with_sampling(less)
    assert isinstance(A, CartesianMRI)
    np.testing.assert_array_equal(A.sampling[1], mask & less)


def test_wrong_coils_and_masks_say_what_is_wrong():
    with pytest.raises(ShapeError, match=r"coils has shape \(4, 4, 2\)"):
        CartesianMRI(np.ones((4, 4)), np.ones((4, 4, 2)))
    with pytest.raises(NonFiniteError, match="coils holds 1 NaN"):
        CartesianMRI(np.ones((1, 1)), np.full((1, 1, 1), np.nan))
    with pytest.raises(DTypeError, match="coils has dtype"):
        CartesianMRI(np.ones((1, 1)), np.array([[["a"]]]))
    with pytest.raises(ArgumentError, match="mask is False everywhere"):
        CartesianMRI(np.zeros((4, 4)))


# --- mask, differences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_mask_zeroes_whatever_stands_at_unmeasured_pixels(dtype):
    mask = RNG.random((5, 6)) < 0.5
    x = RNG.standard_normal((2, 5, 6)).astype(dtype)
    expected = np.where(mask, x, 0)
    x[:, ~mask] = np.nan
    np.testing.assert_array_equal(Mask(mask)(x), expected)
    np.testing.assert_array_equal(Mask(mask)(x[:, :, :].transpose(0, 1, 2)[::-1]), expected[::-1])


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (np.array([[0.5, 1.0]]), ArgumentError, "holds 0.5"),
        (np.array([[2, 1]]), ArgumentError, "holds 2"),
        (np.array([[np.nan, 1]]), ArgumentError, "holds nan"),
        (np.zeros((2, 2), bool), ArgumentError, "False everywhere"),
        (np.ones((2, 2), complex), DTypeError, "complex128"),
        (np.array(True), ShapeError, "single value"),
    ],
)
def test_wrong_mask_says_what_is_wrong(mask, error, match):
    with pytest.raises(error, match=match):
        Mask(mask)


def test_mask_with_sampling_is_the_intersection():
    a, b = RNG.random((5, 6)) < 0.7, RNG.random((5, 6)) < 0.7
    A = Mask(a).with_sampling(b)
    assert isinstance(A, Mask)
    np.testing.assert_array_equal(A.sampling, a & b)


def test_differences_are_differences():
    x = RNG.standard_normal((4, 5))
    y = FiniteDifference((4, 5), spacing=(0.5, 1.0))(x)
    np.testing.assert_allclose(y[0, :-1], np.diff(x, axis=0) / 0.5)
    np.testing.assert_allclose(y[1, :, :-1], np.diff(x, axis=1))
    assert not y[0, -1].any()
    assert not y[1, :, -1].any()
    periodic = FiniteDifference((4, 5), periodic=True)(x)
    np.testing.assert_allclose(periodic[1], np.roll(x, -1, axis=1) - x)
    with pytest.raises(ShapeError, match="one to three axes"):
        FiniteDifference((2, 2, 2, 2))


# --- what every operator admits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.ones((5, 5)), ShapeError, r"x has shape \(5, 5\).*takes \(4, 6\)"),
        (np.ones(6), ShapeError, r"x has shape \(6,\)"),
        (np.float64(1.0), ShapeError, r"x has shape \(\)"),
        (np.ones((0, 4, 6)), ShapeError, "x is empty"),
        (np.full((4, 6), None), DTypeError, "dtype object"),
        (np.full((4, 6), "a"), DTypeError, "expected numbers"),
        ([[1, 2], [3]], DTypeError, "Pad"),
        (np.ma.masked_array(np.ones((4, 6)), mask=np.eye(4, 6)), DTypeError, "masked array"),
    ],
)
def test_wrong_images_say_what_is_wrong(x, error, match):
    with pytest.raises(error, match=match):
        Blur(np.ones((3, 3)), (4, 6))(x)


def test_real_operators_refuse_complex_images():
    with pytest.raises(DTypeError, match=r"x has dtype complex128.*x\.real"):
        ParallelBeam((4, 4), 3)(np.ones((4, 4), complex))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int64, np.float32),
        (bool, np.float32),
        (np.float16, np.float32),
        (np.longdouble, np.float64),
        (">f4", np.float32),
        (">c16", np.complex128),
    ],
)
def test_other_dtypes_keep_their_values(given, kept):
    y = Identity((2, 3))(np.arange(6).reshape(2, 3).astype(given))
    assert y.dtype == kept
    assert y.dtype.isnative
    np.testing.assert_array_equal(y.real.ravel(), [0, 1, 1, 1, 1, 1] if given is bool else range(6))


def test_integers_beyond_single_precision_become_double():
    x = np.array([2**24 + 1])
    assert Identity((1,))(x).item() == 2**24 + 1


def test_the_identity_returns_a_copy():
    x = np.ones((2, 2))
    Identity((2, 2))(x)[:] = 0
    assert x.all()


# --- composition ----------------------------------------------------------------------------------------------------


def test_composition_is_matrix_algebra():
    a, b, c = complex_normal(4, 6), complex_normal(4, 6), complex_normal(6, 5)
    A, B, C = from_matrix(a), from_matrix(b), from_matrix(c)
    for operator, matrix in (
        (A @ C, a @ c),
        ((A @ C).H, (a @ c).conj().T),
        (A + B, a + b),
        (A - B, a - b),
        (-A, -a),
        (2j * A, 2j * a),
        (A * np.float32(0.5), 0.5 * a),
        ((2j * A).H, (2j * a).conj().T),
        ((A + 3 * B) @ C, (a + 3 * b) @ c),
        (A.H.H, a),
        (A.H @ B, a.conj().T @ b),
        (stack([A, B]), np.concatenate([a, b])),
        (stack([A, from_matrix(c.T)], flatten=True), np.concatenate([a, c.T])),
        (stack([A, B]).H, np.concatenate([a, b]).conj().T),
        (A.with_sampling(np.array([1, 0, 1, 1], bool)), a * np.array([1, 0, 1, 1])[:, None]),
    ):
        np.testing.assert_allclose(dense(operator, complex), matrix, atol=1e-12)


def test_identity_vanishes_from_products():
    A = Mask(np.eye(4))
    assert Identity((4, 4)) @ A is A
    assert A @ Identity((4, 4)) is A


def test_sampling_survives_composition():
    A, B, mask = Blur(np.ones((3, 3)), (4, 4)), Mask(np.tri(4)), np.eye(4, dtype=bool) | np.tri(4, k=-2, dtype=bool)
    np.testing.assert_array_equal((B @ A).sampling, np.tri(4))
    np.testing.assert_array_equal((2 * B).sampling, np.tri(4))
    np.testing.assert_array_equal((B @ A).with_sampling(mask).sampling, mask)
    np.testing.assert_array_equal(stack([A, B]).sampling, [np.ones((4, 4)), np.tri(4)])
    assert A.sampling is None
    assert (A @ B).sampling is None


def test_what_cannot_be_combined_says_why():
    A, B = Identity((4, 4)), Identity((4, 5))
    with pytest.raises(ShapeError, match="cannot compose"):
        A @ B
    with pytest.raises(ShapeError, match="cannot add"):
        A + B
    with pytest.raises(ShapeError, match="same in_shape"):
        stack([A, B])
    with pytest.raises(ShapeError, match="flatten=True"):
        stack([A, Downsample(2, (4, 4))])
    with pytest.raises(ArgumentError, match="operators is empty"):
        stack([])
    with pytest.raises(ArgumentError, match="finite number"):
        np.inf * A
    with pytest.raises(OperatorError, match="cannot be combined"):
        ParallelBeam((4, 4), 3) @ CartesianMRI(np.eye(4))
    with pytest.raises(DTypeError, match="Scale it by a real number"):
        1j * ParallelBeam((4, 4), 3)
    with pytest.raises(TypeError):
        A + 1


def test_solve_shifted_takes_one_shift_an_image():
    b, rho = RNG.standard_normal((2, 6, 8)), np.array([0.1, 2.0]).reshape(2, 1, 1)
    for A in (Mask(np.tri(6, 8)), Blur(np.ones((2, 2)), (6, 8)), Downsample(2, (6, 8)), 2 * Identity((6, 8))):
        each = np.stack([A.solve_shifted(b[i], float(rho[i, 0, 0])) for i in range(2)])
        np.testing.assert_allclose(A.solve_shifted(b, rho), each, atol=1e-12)


def test_solve_shifted_without_closed_form_names_the_alternative():
    with pytest.raises(OperatorError, match="conjugate gradients"):
        ParallelBeam((4, 4), 3).solve_shifted(np.ones((4, 4)), 1.0)
    with pytest.raises(ArgumentError, match="rho"):
        Identity((4,)).solve_shifted(np.ones(4), 0.0)


# --- wrappers -------------------------------------------------------------------------------------------------------


def overwrite(x):
    x *= 2
    return x


@pytest.mark.parametrize(
    ("forward", "match"),
    [
        (overwrite, "writes to its input.*copy"),
        (lambda x: x[:2], r"returned shape \(2,\); expected \(4,\)"),
        (lambda x: x + 1j, "complex numbers.*kind"),
        (lambda x: np.array(["a"] * 4), "expected numbers"),
        (lambda x: np.array([None] * 4), "expected numbers"),
    ],
)
def test_callables_that_break_the_contract_are_told(forward, match):
    A = from_callables(forward, lambda y: y, (4,), (4,))
    with pytest.raises(OperatorError, match=match):
        A(np.ones(4))


def test_callables_keep_the_precision_of_the_image():
    A = from_callables(lambda x: x * np.float64(2), lambda y: y * np.float64(2), (3,), (3,))
    assert A(np.ones((2, 3), np.float32)).dtype == np.float32


def test_wrapped_arguments_are_checked():
    with pytest.raises(ArgumentError, match="adjoint and vjp are missing"):
        from_callables(np.copy, None, (3,), (3,))
    with pytest.raises(OptionError, match=r"kind is 'rael'.*'real'"):
        from_callables(np.copy, np.copy, (3,), (3,), kind="rael")
    with pytest.raises(ShapeError, match="expected 12"):
        from_matrix(np.ones((3, 12)), in_shape=(3, 5))
    with pytest.raises(ShapeError, match=r"matrix has shape \(3,\)"):
        from_matrix(np.ones(3))
    with pytest.raises(NonFiniteError, match="matrix holds 1"):
        from_matrix([[np.inf, 1.0]])
    with pytest.raises(DTypeError, match="dtype"):
        from_matrix([["a", "b"]])


def test_scipy_operator_without_rmatvec_says_so():
    from scipy.sparse.linalg import LinearOperator

    A = from_scipy(LinearOperator((3, 3), matvec=lambda v: v, dtype=float))
    A(np.ones(3))
    with pytest.raises(OperatorError, match="rmatvec"):
        A.adjoint(np.ones(3))


def test_as_operator_takes_what_users_have():
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import aslinearoperator

    matrix = RNG.standard_normal((6, 8))
    y, x0 = np.zeros((2, 3)), np.zeros((2, 4))
    for thing in (matrix, csr_array(matrix), aslinearoperator(matrix)):
        A = as_operator(thing, y=y, x0=x0)
        assert (A.in_shape, A.out_shape) == ((2, 4), (2, 3))
        np.testing.assert_allclose(dense(A), matrix)
        assert as_operator(thing, y=np.zeros((5, 6))).out_shape == (6,)
    A = as_operator((np.fft.fft2, lambda y: 16 * np.fft.ifft2(y)), y=np.zeros((4, 4), complex))
    assert (A.kind, A.in_shape) == ("complex", (4, 4))
    assert as_operator(A) is A


@pytest.mark.parametrize(
    ("thing", "error", "match"),
    [
        (Blur, DTypeError, r"Build it first: Blur\(...\)"),
        (np.fft.fft, DTypeError, "A function alone has no adjoint"),
        ("blur", DTypeError, "operator is 'blur'"),
        (None, DTypeError, "expected a forward operator"),
        ((np.copy, np.copy), ShapeError, "out_shape is missing"),
    ],
)
def test_as_operator_refuses_the_rest(thing, error, match):
    with pytest.raises(error, match=match):
        as_operator(thing)
