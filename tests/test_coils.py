"""Coil sensitivities estimated from the centre of k-space."""

import numpy as np
import pytest

from recon import operators as ops
from recon import reconstruct
from recon.bench import problems
from recon.coils import espirit, nlinv, sensitivities_from_center
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError


def coils(shape: tuple[int, int], count: int = 4) -> np.ndarray:
    """Smooth sensitivities around the image, of unit sum of squares, each with a phase of its own."""
    rows, columns = (np.linspace(-1, 1, n) for n in shape)
    turn = 2 * np.pi * np.arange(count) / count
    away = (rows[:, None] - np.sin(turn)[:, None, None]) ** 2 + (columns - np.cos(turn)[:, None, None]) ** 2
    raw = np.exp(-0.5 * away) * np.exp(1j * turn)[:, None, None]
    return raw / np.sqrt((np.abs(raw) ** 2).sum(axis=0))


def object_(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, n) for n in shape)
    disc = (rows[:, None] ** 2 + columns**2) < 0.8
    return disc * (1 + 0.3 * np.cos(4 * rows[:, None]) * np.cos(3 * columns))


def scan(shape: tuple[int, int], count: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    s = coils(shape, count)
    mask = np.zeros(shape, bool)
    mask[::3] = True
    mask[shape[0] // 2 - 8 : shape[0] // 2 + 9] = True
    return ops.CartesianMRI(mask, s)(object_(shape)), mask, s


@pytest.mark.parametrize("shape", [(64, 48), (63, 49)])
def test_finds_the_sensitivities_where_there_is_an_object(shape):
    k, _, truth = scan(shape)
    found = sensitivities_from_center(k)
    inside = object_(shape) > 0
    # One phase a pixel is the image's to choose.
    agreement = np.abs((found.conj() * truth).sum(axis=0))[inside]
    assert agreement.min() > 0.98
    assert agreement.mean() > 0.999


def test_sum_of_squares_is_one():
    found = sensitivities_from_center(scan((64, 48))[0])
    np.testing.assert_allclose((np.abs(found) ** 2).sum(axis=0), 1, atol=1e-12)


def test_reconstruct_with_them_beats_zero_filling():
    k, mask, _ = scan((64, 48))
    real, imaginary = np.random.default_rng(0).standard_normal((2, *k.shape))
    k = k + 0.005 * mask * (real + 1j * imaginary)
    truth = object_((64, 48))
    image = np.abs(reconstruct(k, ops.CartesianMRI(mask, sensitivities_from_center(k))))
    zero_filled = np.sqrt((np.abs(ops.CartesianMRI(mask).adjoint(k)) ** 2).sum(axis=0))
    assert np.linalg.norm(image - truth) < 0.5 * np.linalg.norm(zero_filled - truth)


def test_keeps_single_precision_and_the_input():
    k = scan((32, 32))[0].astype(np.complex64)
    k.flags.writeable = False
    assert sensitivities_from_center(k).dtype == np.complex64


def test_size_is_the_part_that_is_used():
    k = scan((64, 48))[0]
    narrow = sensitivities_from_center(k, size=7)
    outside = k.copy()
    outside[:, : 32 - 4] = 0
    np.testing.assert_array_equal(sensitivities_from_center(outside, size=7), narrow)
    assert np.abs(narrow - sensitivities_from_center(k)).max() > 1e-3


def test_no_coil_sees_anything():
    k = np.full((2, 16, 16), 1e-30 + 0j)
    assert np.isfinite(sensitivities_from_center(k)).all()


@pytest.mark.parametrize(
    ("k", "size", "error", "words"),
    [
        (np.ones((2, 16, 16)), None, DTypeError, "k is of dtype float64"),
        (np.ones(16, complex), None, ShapeError, r"k\[None\]"),
        (np.full((2, 16, 16), np.nan + 0j), None, NonFiniteError, "k"),
        (np.zeros((2, 16, 16), complex), None, ArgumentError, "over 0 samples"),
        (np.ones((2, 16, 16), complex), 99, ArgumentError, "size is 99"),
        (np.ones((2, 16, 16), complex), 3, ArgumentError, "size is 3"),
        (np.ones((2, 16, 16), complex), True, DTypeError, "size"),
    ],
)
def test_wrong_inputs_are_named(k, size, error, words):
    with pytest.raises(error, match=words):
        sensitivities_from_center(k, size=size)


# --- ESPIRiT --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 48), (63, 49)])
def test_espirit_finds_the_sensitivities_up_to_the_edge(shape):
    k, _, truth = scan(shape)
    inside = object_(shape) > 0
    agreement = [
        np.abs((found(k).conj() * truth).sum(axis=0))[inside] for found in (espirit, sensitivities_from_center)
    ]
    assert agreement[0].min() > 0.99
    assert agreement[0].mean() > agreement[1].mean()


def test_espirit_maps_are_unit_vectors_and_vanish_where_cropped():
    k, _, _ = scan((64, 48))
    np.testing.assert_allclose((np.abs(espirit(k)) ** 2).sum(axis=0), 1, atol=1e-9)
    sizes = (np.abs(espirit(k, crop=0.95)) ** 2).sum(axis=0)
    inside = object_((64, 48)) > 0
    assert set(np.unique(sizes.round(6))) == {0.0, 1.0}
    assert sizes[inside].mean() > 0.95 and sizes[:6, :6].mean() < 0.5


def test_espirit_of_a_measured_object_leaves_k_space_as_it_is():
    # S s^H, the projection onto the sensitivities, keeps the coil images of a fully sampled scan.
    shape = (48, 48)
    s = coils(shape)
    images = s * object_(shape)
    axes = (1, 2)
    k = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(images, axes), axes=axes), axes)
    maps = espirit(k)
    projected = maps * (maps.conj() * images).sum(axis=0)
    assert np.linalg.norm(projected - images) < 0.01 * np.linalg.norm(images)


def test_espirit_wants_a_centre_of_two_patches():
    k, _, _ = scan((64, 48))
    with pytest.raises(ArgumentError, match=r"size is 7; .* 13 is the least"):
        espirit(k, size=7)


# --- image and sensitivities together --------------------------------------------------------------------------------


def photograph(shape: tuple[int, int]) -> np.ndarray:
    """An object with detail that a few lines do not show."""
    from skimage import data

    rows, columns = shape
    return data.camera()[100 : 100 + 4 * rows : 4, 150 : 150 + 4 * columns : 4] / 255 * (object_(shape) > 0)


def few_lines(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every third line and seven in the middle, of six coils: too few for ESPIRiT."""
    mask, s = np.zeros(shape, bool), problems.coils(6, shape)
    mask[::3] = True
    mask[shape[0] // 2 - 3 : shape[0] // 2 + 4] = True
    noise = np.random.default_rng(0).standard_normal((2, *s.shape))
    return mask, s, ops.CartesianMRI(mask, s)(photograph(shape)) + 0.003 * mask * (noise[0] + 1j * noise[1])


def test_sensitivities_are_found_with_the_image_where_the_centre_is_too_small():
    shape = (64, 48)
    _, truth, k = few_lines(shape)
    with pytest.raises(ArgumentError, match="centre"):
        espirit(k)

    def off(s: np.ndarray) -> np.floating:
        return (1 - np.abs((s.conj() * truth).sum(axis=0)))[object_(shape) > 0].mean()

    found = nlinv(k)
    np.testing.assert_allclose((np.abs(found) ** 2).sum(axis=0), 1, atol=1e-12)
    assert off(found) < 0.6 * off(sensitivities_from_center(k))


def test_unknown_coils_lose_little():
    shape = (64, 48)
    mask, s, k = few_lines(shape)
    models = [ops.CartesianMRI(mask, c) for c in (ops.Unknown(shape=s.shape), s, sensitivities_from_center(k))]
    images = [abs(reconstruct(k, A, strength=3e-4)) for A in models]
    found, known, of_center = (np.linalg.norm(image - photograph(shape)) for image in images)
    assert found < 2 * known
    assert found < 0.8 * of_center
    with pytest.raises(ArgumentError, match="how many"):
        ops.CartesianMRI(mask, ops.Unknown())
    with pytest.raises(ShapeError, match="one by one"):
        reconstruct(np.stack([k, k]), models[0])


def test_image_and_sensitivities_of_the_joint_operator_measure_the_same():
    F = ops.JointMRI(np.ones((16, 12), bool), 3)
    u = F.example(np.random.default_rng(0))
    again = ops.CartesianMRI(F.mask, F.sensitivities(u))(F.image(u))
    np.testing.assert_allclose(again, F(u), atol=1e-12)
    np.testing.assert_allclose((np.abs(F.sensitivities(u)) ** 2).sum(axis=0), 1, atol=1e-12)


def test_nothing_measured_and_no_steps_are_refused():
    with pytest.raises(ArgumentError, match="zero everywhere"):
        nlinv(np.zeros((2, 8, 8), complex))
    with pytest.raises(ArgumentError, match="steps"):
        nlinv(np.ones((2, 8, 8), complex), steps=0)
    with pytest.raises(ArgumentError, match="coils"):
        ops.JointMRI(np.ones((8, 8), bool), 0)
