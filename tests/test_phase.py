"""Phase retrieval: the measurements against direct transforms, the solvers against their textbook forms."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import correlate

from priors import NonNegative
from recon import plan, reconstruct
from recon.bench.problems import photograph
from recon.operators import (
    CodedDiffraction,
    FourierMagnitude,
    Phaseless,
    Ptychography,
    Unknown,
    _unknown_probe,
    from_matrix,
)
from solvers import HIO, RAAR, AmplitudeFlow, ErrorReduction, unroll
from solvers.errors import ArgumentError, DTypeError, OptionError, ReconError, ShapeError
from solvers.phase_retrieval import amplitude_loss, spectral_start

RNG = np.random.default_rng(0)


def noise(*shape):
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def scene(n):
    """A smooth complex object: bumps with slowly varying phases."""
    r, c = np.mgrid[:n, :n] / n
    bumps = 0.3 + np.exp(-20 * ((r - 0.4) ** 2 + (c - 0.6) ** 2)) + 0.5 * ((r - 0.6) ** 2 + (c - 0.3) ** 2 < 0.03)
    return (bumps * np.exp(1j * np.sin(4 * r) * c)).astype(np.complex64)


def distance(x, truth):
    """Relative error after the best global phase."""
    turn = np.vdot(x, truth)
    return float(np.linalg.norm(x * turn / abs(turn) - truth) / np.linalg.norm(truth))


def probe(n, width):
    r, c = np.mgrid[:n, :n] - n / 2
    return np.exp(-(r**2 + c**2) / (2 * width**2) + 1j * (r**2 + c**2) / 60)


def scan(step, n, size):
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(0, n - size + 1, step), np.arange(0, n - size + 1, step)), -1).reshape(-1, 2)
    return np.clip(grid + rng.integers(-1, 2, grid.shape), 0, n - size)


def centred(x):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x), norm="ortho"))


def test_coded_diffraction_is_the_transform_of_each_product():
    masks, x = noise(3, 6, 5), noise(6, 5)
    expected = [abs(centred(mask * x)) ** 2 for mask in masks]
    assert_allclose(CodedDiffraction(masks)(x), expected, rtol=1e-12)
    assert_allclose(CodedDiffraction(masks, measures="magnitude")(x) ** 2, expected, rtol=1e-12)


def test_random_patterns_keep_the_energy_and_follow_the_seed():
    first, other = CodedDiffraction(2, (8, 8), rng=1), CodedDiffraction(2, (8, 8), rng=2)
    x = noise(8, 8)
    assert_allclose(first(x).sum(axis=(1, 2)), np.linalg.norm(x) ** 2)
    assert not np.allclose(first(x), other(x))
    assert_allclose(first(x), CodedDiffraction(2, (8, 8), rng=1)(x))


def test_fourier_intensity_is_the_spectrum_of_the_autocorrelation():
    x = abs(noise(6, 7))
    pattern = np.fft.ifftshift(FourierMagnitude((6, 7), 2)(x))
    found = np.fft.fftshift(np.fft.ifftn(pattern, norm="ortho").real) * np.sqrt(pattern.size)
    assert_allclose(found[1:, 1:], correlate(x, x), atol=1e-10)


def test_ptychography_is_the_transform_of_each_lit_part():
    p, x = noise(4, 3), noise(7, 8)
    positions = [(0, 0), (3, 5), (1, 2)]
    expected = [abs(centred(p * x[r : r + 4, c : c + 3])) ** 2 for r, c in positions]
    assert_allclose(Ptychography(p, positions, (7, 8))(x), expected, rtol=1e-12)


def test_what_cannot_be_seen():
    x, F = abs(noise(6, 6)), FourierMagnitude((6, 6))
    assert_allclose(F(x[::-1, ::-1]), F(x), rtol=1e-10)
    turned = Phaseless(from_matrix(noise(9, 4)))
    z = noise(4)
    assert_allclose(turned(np.exp(1j) * z), turned(z), rtol=1e-12)


def test_derivative_of_an_intensity_is_twice_the_real_product():
    A, x, d = noise(9, 4), noise(4), noise(1, 4)[0]
    F = Phaseless(from_matrix(A))
    assert_allclose(F.linearize(x)(d), 2 * ((A @ x).conj() * (A @ d)).real, rtol=1e-12)
    r = RNG.standard_normal(9)
    assert_allclose(F.vjp(x, r), 2 * A.conj().T @ (r * (A @ x)), rtol=1e-12)


def problem(**image):
    """A field with a support, its magnitudes and a start, in double precision."""
    F = FourierMagnitude((6, 5), 2, image="complex")
    truth = noise(6, 5)
    return F.field, abs(F.field(truth)), truth, noise(5, 6).T


def test_hybrid_input_output_is_fienups():
    field, b, _, start = problem()
    shape = field.out_shape
    inside = np.zeros(shape, bool)
    inside[3:9, 2:7] = True

    def magnitude_projection(g):
        z = centred(g)
        return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(b * z / abs(z)), norm="ortho"))

    g = np.zeros(shape, complex)
    g[inside] = start.ravel()
    for _ in range(4):
        new = magnitude_projection(g)
        g = np.where(inside, new, g - 0.7 * new)  # Fienup's rule
    found = unroll(HIO(field, b, beta=0.7), start, 4)
    assert_allclose(found, magnitude_projection(g)[inside].reshape(6, 5), rtol=1e-9)


@pytest.mark.parametrize("method", [ErrorReduction, HIO, RAAR, AmplitudeFlow])
def test_the_truth_is_a_fixed_point(method):
    field, b, truth, _ = problem()
    assert_allclose(unroll(method(field, b), truth, 3), truth, atol=1e-12)


@pytest.mark.parametrize("method", [ErrorReduction, AmplitudeFlow])
def test_descent_lowers_the_loss_at_every_step(method):
    field, b, _, start = problem()
    algorithm = method(field, b)
    state, losses = algorithm.init(start), [float(amplitude_loss(field(start), b))]
    for k in range(12):
        state = algorithm.step(state, k)
        losses.append(float(algorithm.objective(state.x)))
    if method is ErrorReduction:
        assert all(later <= before for before, later in pairwise(losses))
    assert losses[-1] < 0.6 * losses[0]


def test_amplitude_flow_begins_with_a_gradient_step():
    A, x = noise(9, 4), noise(4)
    b = abs(noise(9))
    z = A @ x
    gradient = A.conj().T @ (z - b * z / abs(z))
    field = from_matrix(A)
    assert_allclose(unroll(AmplitudeFlow(field, b), x, 1), x - gradient / field.norm() ** 2, rtol=1e-10)


def test_real_and_nonnegative_images_stay_so():
    field, b, _, start = problem()
    for method in (HIO, RAAR, ErrorReduction, AmplitudeFlow):
        x = unroll(method(field, b, real=True, constraint=NonNegative()), abs(start), 3)
        assert not np.iscomplexobj(x) and x.min() >= 0


def test_spectral_start_is_near_where_measurements_abound():
    A, x = noise(1200, 20), noise(20)
    field = from_matrix(A)
    start = spectral_start(field, abs(A @ x), 3)
    assert distance(start, x) < 0.5
    assert_allclose(np.linalg.norm(A @ start), np.linalg.norm(A @ x))


@pytest.mark.parametrize("seed", range(3))
def test_four_patterns_determine_the_image(seed):
    truth = scene(48)
    F = CodedDiffraction(4, truth.shape, rng=seed)
    assert distance(F.first_guess(F(truth)), truth) < 1e-5


def test_a_random_matrix_determines_the_image():
    A, truth = noise(120, 15), noise(15)
    F = Phaseless(from_matrix(A), measures="magnitude")
    assert distance(F.first_guess(F(truth)), truth) < 1e-3


def test_overlapping_parts_determine_the_image():
    truth = scene(48)
    F = Ptychography(probe(24, 6), scan(6, 48, 24), truth.shape)
    lit = np.sqrt(F.field.diagonal_gram())
    guess = F.first_guess(F(truth))
    assert distance(lit * guess, lit * truth) < 0.02


def test_zeros_around_an_object_replace_its_phases():
    truth = np.random.default_rng(0).random((12, 12))
    F = FourierMagnitude(truth.shape)
    guess = F.first_guess(F(truth))
    assert min(distance(guess, truth), distance(guess[::-1, ::-1], truth)) < 1e-4


def test_reconstruct_keeps_a_first_guess_that_explains_all():
    truth = scene(16)
    F = CodedDiffraction(4, truth.shape)
    assert distance(reconstruct(F(truth), F), truth) < 1e-5


def test_items_of_a_batch_do_not_know_of_each_other():
    truth = np.stack([scene(24), 3 * scene(24)[::-1]])
    F = CodedDiffraction(4, (24, 24))
    for guess, x in zip(F.first_guess(F(truth)), truth, strict=True):
        assert distance(guess, x) < 1e-4


def test_negative_samples_read_zero():
    F = Phaseless(from_matrix(np.eye(3)))
    assert_allclose(F.magnitudes(np.array([4.0, -1.0, 0.0])), [2, 0, 0])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: CodedDiffraction(4), ShapeError, "shape is None"),
        (lambda: CodedDiffraction(np.ones(5)), ShapeError, "patterns"),
        (lambda: CodedDiffraction(np.ones((2, 4, 4)), (5, 5)), ShapeError, "patterns"),
        (lambda: CodedDiffraction(np.full((2, 4, 4), np.nan)), ReconError, "patterns"),
        (lambda: CodedDiffraction(2, (4, 4), measures="intensty"), OptionError, "intensity"),
        (lambda: FourierMagnitude((4, 4), 0.5), ArgumentError, "oversampling"),
        (lambda: FourierMagnitude((4, 4), image="positive"), OptionError, "image"),
        (lambda: Phaseless(np.eye(3)), DTypeError, "field"),
        (lambda: Ptychography(np.ones((3, 3)), [(0, 0.5)], (6, 6)), DTypeError, "positions"),
        (lambda: Ptychography(np.ones((3, 3)), [(0, 4)], (6, 6)), ArgumentError, r"positions\[0\]"),
        (lambda: Ptychography(np.ones((3, 3)), [0, 4], (6, 6)), ShapeError, "positions"),
        (lambda: Ptychography(np.ones((7, 3)), [(0, 0)], (6, 6)), ShapeError, "probe"),
        (lambda: Ptychography(np.zeros((3, 3)), [(0, 0)], (6, 6)), ArgumentError, "probe"),
        (lambda: RAAR(from_matrix(np.ones((4, 3))), np.ones(4)), ArgumentError, "AmplitudeFlow"),
    ],
)
def test_wrong_inputs(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("F", "words"),
    [
        (CodedDiffraction(4, (8, 8)), "spectral, then reflections"),
        (FourierMagnitude((8, 8)), "up to 8 tries"),
        (Phaseless(from_matrix(np.eye(9, 4) + 1j)), "then reweighted flow; .* 2 further ones"),
    ],
)
def test_the_plan_says_how_local_minima_are_met(F, words):
    start = plan(np.ones(F.out_shape), F).decisions["start"]
    assert re.search(words, f"{start.choice}; {start.reason}")


# --- ptychography with an unknown probe ------------------------------------------------------------------------------


def test_probe_is_found_with_the_object_though_far_out_of_focus(monkeypatch):
    """A bent Gaussian up to a phase and a ramp, by its modulus: from nothing, and from one that is not bent."""
    monkeypatch.setattr(_unknown_probe, "PASSES", 60)
    n, m, rng = 32, 14, np.random.default_rng(0)
    r2 = sum(np.meshgrid(*((np.arange(m) - m / 2) ** 2,) * 2))
    probe = np.exp(-r2 / 15 + 0.1j * r2)
    corners = np.array([(a, b) for a in range(0, n - m + 1, 4) for b in range(0, n - m + 1, 4)])
    positions = np.clip(corners + rng.integers(-1, 2, corners.shape), 0, n - m)
    scene = (0.3 + 0.7 * photograph("camera", n)) * np.exp(1j * photograph("astronaut", n))
    y = Ptychography(probe, positions, (n, n))(scene)
    family = Ptychography(Unknown(shape=(m, m)), positions, (n, n))
    started = Ptychography(Unknown(start=np.roll(abs(probe), 1, 0)), positions, (n, n))

    def off(p):
        p = abs(p) * np.linalg.norm(probe) / np.linalg.norm(p)
        return np.linalg.norm(p - abs(probe)) / np.linalg.norm(probe)

    found = family.estimated(y)["probe"]
    assert off(found) < 0.1
    assert np.sum(abs(found) ** 2) == pytest.approx(y.sum((-2, -1)).mean())
    assert off(np.roll(started.estimated(y)["probe"], -1, 0)) < 0.1, "the beam is where the start has it"
    assert "defoc" in family.guessing
    with pytest.raises(ArgumentError, match="rows, columns"):
        Ptychography(Unknown(), positions, (n, n))
    with pytest.raises(ShapeError, match="one by one"):
        family.estimated(y[None])
