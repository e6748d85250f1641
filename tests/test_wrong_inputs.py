"""Each wrong input gets a typed error that names the argument, the finding and the remedy."""

from __future__ import annotations

import numpy as np
import pytest

import priors
from recon import operators as ops
from recon import plan, reconstruct
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OperatorError, OptionError, ReconError, ShapeError

SHAPE = (16, 16)
PSF = np.ones((3, 3)) / 9


@pytest.fixture
def blur():
    return ops.Blur(PSF, SHAPE)


@pytest.fixture
def y():
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


def with_nan(y):
    y = y.copy()
    y[3, 4] = np.nan
    y[5, 6] = np.inf
    return y


MEASUREMENTS = {
    "wrong shape": (lambda y: y[:-1], ShapeError, ["y", "(15, 16)", "(16, 16)"]),
    "empty": (lambda y: y[:0], ShapeError, ["y is empty", "(0, 16)"]),
    "0-d": (lambda y: y[0, 0], ShapeError, ["y is 0-dimensional", "Pass"]),
    "object dtype": (lambda y: y.astype(object), DTypeError, ["y has dtype object", "astype(np.float32)"]),
    "text": (lambda y: np.array(["a", "b"]), DTypeError, ["y has dtype", "Convert"]),
    "NaN and Inf": (with_nan, NonFiniteError, ["2 NaN or infinite", "(3, 4)", "Mask"]),
    "ragged": (lambda y: [[1, 2], [3]], DTypeError, ["y is list", "Pad a ragged"]),
}


@pytest.mark.parametrize("case", MEASUREMENTS)
def test_measurements(case, blur, y):
    spoil, error, words = MEASUREMENTS[case]
    with pytest.raises(error) as caught:
        reconstruct(spoil(y), blur)
    assert_says(caught.value, words)


def test_complex_into_a_real_operator(y):
    views = ops.ParallelBeam(SHAPE, np.linspace(0, 3, 4), detectors=16)
    with pytest.raises(DTypeError) as caught:
        reconstruct(np.ones((4, 16), np.complex64), views)
    assert_says(caught.value, ["y has dtype complex64", "real", "y.real"])


OPTIONS = {
    "unknown keyword": ({"strenght": 1.0}, OptionError, ["strenght", "'strength'"]),
    "negative max_iter": ({"max_iter": -3}, ArgumentError, ["max_iter is -3", "at least 1"]),
    "boolean max_iter": ({"max_iter": True}, DTypeError, ["max_iter is True", "integer"]),
    "float max_iter": ({"max_iter": 3.0}, DTypeError, ["max_iter is 3.0", "integer"]),
    "zero max_iter": ({"max_iter": 0}, ArgumentError, ["max_iter is 0", "at least 1"]),
    "negative tol": ({"tol": -1e-3}, ArgumentError, ["tol is -0.001", "above 0"]),
    "wrong prior": ({"prior": "tvv"}, OptionError, ["prior is 'tvv'", "'tv'"]),
    "transform as prior": ({"prior": priors.WaveletFrame()}, DTypeError, ["a transform", "Sparsity(WaveletFrame"]),
    "class as prior": ({"prior": priors.Wavelet}, DTypeError, ["the class Wavelet", "Pass Wavelet(...)"]),
    "prior of a wrong kind": ({"prior": 3}, DTypeError, ["prior is 3", "priors.TotalVariation"]),
    "wrong solver": ({"solver": "admn"}, OptionError, ["solver is 'admn'", "'admm'"]),
    "wrong noise": ({"noise": "poison"}, OptionError, ["noise is 'poison'", "'poisson'"]),
    "negative noise": ({"noise": -0.1}, ArgumentError, ["noise is -0.1", "at least 0"]),
    "negative strength": ({"strength": -1.0}, ArgumentError, ["strength is -1.0", "above 0"]),
    "boolean strength": ({"strength": True}, DTypeError, ["strength is True", "number"]),
    "x0 of the wrong shape": ({"x0": np.zeros((4, 4))}, ShapeError, ["x0 has shape (4, 4)", "(16, 16)"]),
    "x0 with NaN": ({"x0": np.full(SHAPE, np.nan)}, NonFiniteError, ["x0 holds 256 NaN", "(0, 0)"]),
    "bounds reversed": ({"bounds": (1, 0)}, ArgumentError, ["bounds are (1.0, 0.0)", "lower < upper"]),
    "bounds of one": ({"bounds": 1.0}, DTypeError, ["bounds are 1.0", "two numbers"]),
    "channel_axis too large": ({"channel_axis": 7}, ArgumentError, ["channel_axis is 7", "2 axes"]),
    "callback of a wrong kind": ({"callback": 3}, DTypeError, ["callback is 3", "function"]),
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("call", [reconstruct, plan])
def test_options(call, case, blur, y):
    options, error, words = OPTIONS[case]
    with pytest.raises(error) as caught:
        call(y, blur, **options)
    assert_says(caught.value, words)


def test_a_solver_that_builds_none(blur, y):
    with pytest.raises(DTypeError, match="returned int; expected an algorithm with init and step"):
        reconstruct(y, blur, solver=lambda data, prior, strength: 3)


def test_poisson_refuses_negative_counts(blur, y):
    with pytest.raises(ArgumentError) as caught:
        reconstruct(y - 1, blur, noise="poisson")
    assert_says(caught.value, ["y goes down to", "at least 0", "raw counts"])


OPERATORS = {
    "PSF of zeros": (lambda: ops.Blur(np.zeros((3, 3)), SHAPE), ArgumentError, ["psf is zero"]),
    "PSF larger than the image": (
        lambda: ops.Blur(np.ones((3, 33)), SHAPE),
        ShapeError,
        ["psf", "(3, 33)", "(16, 16)"],
    ),
    "PSF with NaN": (lambda: ops.Blur(np.full((3, 3), np.nan), SHAPE), NonFiniteError, ["psf holds 9"]),
    "unknown boundary": (lambda: ops.Blur(PSF, SHAPE, boundary="periodc"), OptionError, ["'periodic'"]),
    "NaN angles": (
        lambda: ops.ParallelBeam(SHAPE, [0.0, np.nan, 1.0]),
        NonFiniteError,
        ["angles", "1 NaN", "at index 1", "Remove"],
    ),
    "empty mask": (lambda: ops.Mask(np.zeros(SHAPE, bool)), ArgumentError, ["mask", "False everywhere"]),
    "factor that does not divide": (lambda: ops.Downsample(3, SHAPE), ReconError, ["factor", "3", "16"]),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_operators(case):
    build, error, words = OPERATORS[case]
    with pytest.raises(error) as caught:
        build()
    assert_says(caught.value, words)


def test_a_wrong_adjoint(y):
    pair = (lambda x: np.roll(x, 1, 0), lambda r: np.roll(r, 1, 0))
    with pytest.raises(OperatorError) as caught:
        reconstruct(y, pair)
    assert_says(caught.value, ["adjoint"])


def test_an_operator_that_changes_its_input(y):
    def forward(x):
        x += 1
        return x

    with pytest.raises(OperatorError) as caught:
        reconstruct(y, (forward, lambda r: r))
    assert_says(caught.value, ["forward", "input"])


def test_an_operator_that_returns_the_wrong_shape(y):
    with pytest.raises(OperatorError) as caught:
        reconstruct(y, (lambda x: x[:-1], lambda r: r))
    assert_says(caught.value, ["(15, 16)", "(16, 16)"])


def test_something_that_is_no_operator(y):
    with pytest.raises(ReconError) as caught:
        reconstruct(y, "blur")
    assert_says(caught.value, ["operator"])


def test_too_many_angles_name_the_geometry():
    views = ops.ParallelBeam((64, 64), 180, detectors=640)
    with pytest.raises(ShapeError) as caught:
        reconstruct(np.zeros((181, 640), np.float32), views)
    assert_says(caught.value, ["y has shape (181, 640)", "(180, 640)", "181 angles"])


def test_rows_between_angles_and_detectors_are_named():
    views = ops.ParallelBeam((64, 64), 181, detectors=640)
    with pytest.raises(ShapeError) as caught:
        reconstruct(np.zeros((181, 2, 640), np.float32), views)
    assert_says(caught.value, ["y has shape (181, 2, 640)", "np.moveaxis(y, -2, 0)"])


def assert_says(error: BaseException, words: list[str]) -> None:
    text = str(error)
    for word in words:
        assert word in text, text
    assert text.rstrip().endswith((".", "?")), text


@pytest.mark.parametrize("rng", ["a", -1, 0.5])
def test_a_seed_that_is_none_is_named(rng):
    with pytest.raises(DTypeError, match=r"rng is .*; expected an integer of at least 0"):
        reconstruct(np.ones((8, 8)), ops.Identity((8, 8)), rng=rng)
