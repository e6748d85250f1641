"""Filtered back-projection: right values in the right unit, for any set of angles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recon._ramp import WINDOWS, ramp
from recon._ray_weights import angular_weights, parker
from recon.fbp import fbp
from recon.operators import FanBeam, Identity, ParallelBeam
from solvers import errors

SIZE, RADIUS = 101, 32.3


def disc_sinogram(A: ParallelBeam, x0: float, y0: float, radius: float, mu: float = 1.0) -> np.ndarray:
    u = (np.arange(A.detectors) - A.center) * A.detector_spacing
    s = u - (x0 * np.cos(A.angles) + y0 * np.sin(A.angles))[:, None]
    return 2 * mu * np.sqrt(np.maximum(radius**2 - s**2, 0))


def disc_mask(A: ParallelBeam, x0: float, y0: float, radius: float) -> np.ndarray:
    rows, columns = A.in_shape
    x = (np.arange(columns) - 0.5 * (columns - 1)) * A.spacing
    y = -(np.arange(rows) - 0.5 * (rows - 1))[:, None] * A.spacing
    return (x - x0) ** 2 + (y - y0) ** 2 < radius**2


ANGLE_SETS = {
    "half turn": np.arange(180) * np.pi / 180,
    "half turn with both ends": np.linspace(0, np.pi, 181),
    "full turn": np.arange(360) * np.pi / 180,
    "odd full turn": np.arange(181) * 2 * np.pi / 181,
    "backwards": -np.arange(180)[::-1] * np.pi / 180,
    "golden": np.arange(200) * np.pi * (5**0.5 - 1) / 2,
    "random": np.random.default_rng(0).uniform(-10, 10, 300),
    "two speeds": np.concatenate([np.linspace(0, 1, 60), np.linspace(1, np.pi, 260)[1:-1]]),
}


@pytest.mark.parametrize("name", ANGLE_SETS)
def test_a_disc_comes_out_with_its_attenuation(name: str) -> None:
    mu, h = 0.02, 0.4
    A = ParallelBeam((SIZE, SIZE + 8), ANGLE_SETS[name], spacing=h, detector_spacing=0.8 * h, center=77.6)
    place = 3 * h, -5 * h
    x = fbp(disc_sinogram(A, *place, RADIUS * h, mu), A)
    inside = x[disc_mask(A, *place, (RADIUS - 4) * h)]
    outside = x[~disc_mask(A, *place, (RADIUS + 3) * h)]
    assert inside.mean() == pytest.approx(mu, rel=2e-3)
    assert inside.std() < 0.03 * mu
    assert abs(outside.mean()) < 0.01 * mu


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_keeps_the_mean_value(window: str) -> None:
    A = ParallelBeam((SIZE, SIZE), 180)
    x = fbp(disc_sinogram(A, 0, 0, RADIUS), A, window=window)
    assert x[disc_mask(A, 0, 0, RADIUS - 5)].mean() == pytest.approx(1, rel=5e-3)


def test_smoother_windows_pass_less_noise() -> None:
    A = ParallelBeam((65, 65), 90)
    noise = np.random.default_rng(0).standard_normal(A.out_shape)
    levels = [fbp(noise, A, window=window).std() for window in WINDOWS]
    assert levels == sorted(levels, reverse=True)


def test_corners_beyond_the_detector_are_empty() -> None:
    A = ParallelBeam((SIZE, SIZE), 180, detectors=SIZE)
    x = fbp(disc_sinogram(A, 0, 0, RADIUS), A)
    assert np.abs(x[:10, :10]).max() < 0.01


def test_agrees_with_scikit_image() -> None:
    from skimage.transform import iradon

    A = ParallelBeam((SIZE, SIZE), 120, detectors=SIZE)
    y = disc_sinogram(A, 8, 5, RADIUS)
    theirs = iradon(y.T, np.rad2deg(A.angles), circle=True)
    seen = disc_mask(A, 0, 0, 0.5 * SIZE - 1)
    ours = fbp(y, A)
    assert np.linalg.norm((ours - theirs)[seen]) < 5e-3 * np.linalg.norm(theirs[seen])


def test_back_projection_equals_its_naive_twin() -> None:
    A = ParallelBeam((15, 22), np.linspace(-3, 4, 13), spacing=0.5, detector_spacing=0.7, detectors=25, center=9.2)
    rng = np.random.default_rng(0)
    y, weights = rng.standard_normal(A.out_shape), rng.random(13)
    x = np.arange(22) - 10.5
    up = -(np.arange(15) - 7.0)[:, None]
    expected = np.zeros(A.in_shape)
    for w, angle, view in zip(weights, A.angles, y, strict=True):
        cos, sin = np.cos(angle), np.sin(angle)
        # Where the ray through the pixel crosses the middle row, or column, that it meets steeply; then quarters of it.
        steep = cos if abs(cos) >= abs(sin) else -sin
        t = (x * cos + up * sin) / steep + (10.5 if steep == cos else 7.0)
        below, fraction = np.floor(4 * t) / 4, (4 * t) % 1
        cell = [(q - (10.5 if steep == cos else 7.0)) * steep * 0.5 / 0.7 + 9.2 for q in (below, below + 0.25)]
        ends, padded = np.arange(-1, 26), np.pad(view, 1)
        left, right = (np.interp(c, ends, padded, left=0, right=0) for c in cell)
        expected += w * ((1 - fraction) * left + fraction * right)
    np.testing.assert_allclose(A.smear(y, weights), expected, atol=1e-11)


def test_ramp_is_kak_and_slaney_61() -> None:
    kernel = np.fft.irfft(ramp(64, 0.5), 64)
    np.testing.assert_allclose(kernel[:4] * 0.5, [0.25, -1 / np.pi**2, 0, -1 / (3 * np.pi) ** 2], atol=1e-15)


@pytest.mark.parametrize("name", ANGLE_SETS)
def test_angular_weights_sum_to_pi(name: str) -> None:
    weights = angular_weights(ANGLE_SETS[name])
    assert weights.sum() == pytest.approx(np.pi)
    assert (weights >= 0).all()


def test_an_unmeasured_wedge_adds_no_weight() -> None:
    np.testing.assert_allclose(angular_weights(np.arange(90) * np.pi / 180), np.pi / 180)
    np.testing.assert_allclose(angular_weights(np.array([0.3])), np.pi)


def test_batch_dtype_and_input() -> None:
    A = ParallelBeam((33, 40), 50)
    y = np.random.default_rng(0).standard_normal((2, 3, *A.out_shape)).astype(np.float32)
    y.setflags(write=False)
    x = fbp(y, A)
    assert x.shape == (2, 3, 33, 40) and x.dtype == np.float32
    np.testing.assert_allclose(x[1, 2], fbp(y[1, 2], A), atol=1e-6)
    np.testing.assert_allclose(x, fbp(y.astype(np.float64), A), atol=1e-5 * np.abs(x).max())


def test_a_tensor_gives_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    A = ParallelBeam((17, 17), 20)
    y = np.random.default_rng(0).random(A.out_shape).astype(np.float32)
    x = fbp(torch.from_numpy(y), A)
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x.numpy(), fbp(y, A))
    with pytest.raises(errors.DTypeError, match="requires gradients"):
        fbp(torch.from_numpy(y).requires_grad_(), A)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"operator": Identity((20, 28))}, errors.OperatorError, "expected ParallelBeam or FanBeam"),
        ({"operator": None}, errors.OperatorError, "operator is None"),
        ({"window": "hanning"}, errors.OptionError, "Did you mean 'hann'"),
        ({"y": np.zeros((21, 28))}, errors.ShapeError, "Pass 21 angles"),
        ({"y": np.zeros((20, 28), complex)}, errors.DTypeError, "takes real arrays"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], error: type, message: str) -> None:
    given = {"y": np.zeros((20, 28)), "operator": ParallelBeam((20, 20), 20, detectors=28), **change}
    with pytest.raises(error, match=message):
        fbp(given.pop("y"), given.pop("operator"), **given)


@pytest.mark.parametrize("center", [20.0, 76.3])
@pytest.mark.parametrize("views", [360, 361])
def test_a_full_turn_makes_up_for_half_a_detector(center: float, views: int) -> None:
    A = ParallelBeam((SIZE, SIZE), np.arange(views) * 2 * np.pi / views, detectors=97, center=center)
    x = fbp(disc_sinogram(A, 8, -5, RADIUS), A)
    inside, outside = x[disc_mask(A, 8, -5, RADIUS - 4)], x[~disc_mask(A, 8, -5, RADIUS + 3)]
    assert inside.mean() == pytest.approx(1, rel=2e-3)
    assert inside.std() < 0.02
    assert abs(outside.mean()) < 0.01


FAN = {"source_distance": 60.0, "detector_distance": 32.0}
TURN = np.arange(360) * np.pi / 180
FAN_SCANS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "flat": (TURN, {}),
    "curved": (TURN, {"detector": "curved"}),
    "flat, axis beside": (TURN, {"axis_offset": 1.2, "center": 70.3}),
    "curved, axis beside": (TURN, {"axis_offset": -1.2, "detector": "curved"}),
    "random": (np.random.default_rng(0).uniform(-9, 9, 500), {}),
    "short": (1 + TURN[:236], {}),
    "short, axis beside": (1 + TURN[:240], {"axis_offset": -1.2}),
    "short, curved, backwards": (-TURN[:250], {"detector": "curved"}),
    "nearly a turn": (TURN[:330], {}),
    "half a detector": (TURN, {"detectors": 100, "center": 22.0}),
    "the other half, curved": (TURN, {"detectors": 100, "center": 77.0, "detector": "curved"}),
}


def fan_disc(A: FanBeam, x0: float, y0: float, radius: float, mu: float) -> np.ndarray:
    """Chords: the distance of each ray from the middle of the disc."""
    away = np.stack([-np.sin(A.angles), np.cos(A.angles)])
    along = np.stack([np.cos(A.angles), np.sin(A.angles)])
    to = np.array([[x0], [y0]]) + A.source_distance * away + A.axis_offset * along
    forwards, sideways = (to * away).sum(0)[:, None], (to * along).sum(0)[:, None]
    s = sideways * np.cos(A.fan_angles) - forwards * np.sin(A.fan_angles)
    return 2 * mu * np.sqrt(np.maximum(radius**2 - s**2, 0))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", FAN_SCANS)
def test_a_disc_in_a_fan_comes_out_with_its_attenuation(name: str) -> None:
    mu, h = 0.02, 0.4
    angles, geometry = FAN_SCANS[name]
    A = FanBeam((SIZE, SIZE + 8), angles, spacing=h, **FAN, **geometry)
    place = 8 * h, -5 * h
    x = fbp(fan_disc(A, *place, RADIUS * h, mu), A)
    inside = x[disc_mask(A, *place, (RADIUS - 4) * h)]
    outside = x[~disc_mask(A, *place, (RADIUS + 3) * h)]
    assert inside.mean() == pytest.approx(mu, rel=1e-3)
    assert inside.std() < 2e-3 * mu
    assert abs(outside.mean()) < 1e-3 * mu
    assert np.abs(outside).max() < 0.15 * mu


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_fan_of_a_far_source_inverts_as_parallel_beam(detector: str) -> None:
    A = FanBeam((65, 65), 240, source_distance=1e6, detector_distance=0.0, detector=detector)
    B = ParallelBeam((65, 65), A.angles, detectors=A.detectors)
    y = disc_sinogram(B, 8, 5, 20)
    assert np.linalg.norm(fbp(y, A) - fbp(y, B)) < 5e-3 * np.linalg.norm(fbp(y, B))


def test_every_line_of_a_short_scan_counts_once() -> None:
    arc, gamma = np.deg2rad(230), np.linspace(-0.4, 0.4, 9)
    turned = np.linspace(0, arc, 400)[:, None] + 0 * gamma
    again = turned + np.pi - 2 * gamma
    twice = again < arc
    both = parker(turned, gamma, arc) + parker(again, -gamma, arc)
    np.testing.assert_allclose(both[twice], 1, atol=1e-12)
    earlier = turned - np.pi - 2 * gamma  # the ray of which this one is the repetition
    np.testing.assert_allclose(parker(turned, gamma, arc)[~twice & (earlier < 0)], 1, atol=1e-12)


def test_an_arc_that_leaves_lines_out_is_reported() -> None:
    A = FanBeam((64, 64), TURN[:190], source_distance=100.0, detector_distance=0.0)
    with pytest.warns(UserWarning, match="angles cover 190 degrees; expected 217"):
        fbp(np.zeros(A.out_shape), A)


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_fan_back_projection_equals_its_naive_twin(detector: str) -> None:
    geometry = {"source_distance": 9.0, "detector_distance": 4.0, "detectors": 31, "center": 13.2, "axis_offset": 0.3}
    A = FanBeam((15, 22), np.linspace(-3, 4, 13), spacing=0.5, detector=detector, **geometry)
    rng = np.random.default_rng(0)
    y, weights = rng.standard_normal((13, 4)) @ np.cos(np.outer(np.arange(4), np.arange(31) / 9)), rng.random(13)
    x = (np.arange(22) - 10.5) * 0.5
    up = -(np.arange(15) - 7.0)[:, None] * 0.5
    expected = np.zeros(A.in_shape)
    for w, angle, view in zip(weights, A.angles, y, strict=True):
        cos, sin = np.cos(angle), np.sin(angle)
        depth, lateral = 9.0 - x * sin + up * cos, 0.3 + x * cos + up * sin
        gamma, length = np.arctan2(lateral, depth), np.hypot(depth, lateral)
        ratio, distance = (np.tan(gamma), depth) if detector == "flat" else (gamma, length)
        cell = ratio * 13.0 / A.detector_spacing + 13.2
        expected += w * (9.0 / distance) ** 2 * np.interp(cell, np.arange(31), view, left=0, right=0)
    inner = (slice(3, -3), slice(5, -5))  # that all views see whole
    np.testing.assert_allclose(A.smear(y, weights)[inner], expected[inner], atol=0.02 * np.abs(expected).max())


def test_fan_batch_dtype_and_input() -> None:
    A = FanBeam((33, 40), 50, **FAN)
    y = np.random.default_rng(0).standard_normal((2, 3, *A.out_shape)).astype(np.float32)
    y.setflags(write=False)
    x = fbp(y, A)
    assert x.shape == (2, 3, 33, 40) and x.dtype == np.float32
    np.testing.assert_allclose(x[1, 2], fbp(y[1, 2], A), atol=1e-6)
    np.testing.assert_allclose(x, fbp(y.astype(np.float64), A), atol=2e-5 * np.abs(x).max())
