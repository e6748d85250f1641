"""The front door: what it returns, what it decides, and that the decisions are good."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

import priors
from benchmarks.problems import psnr
from recon import Gaussian, plan, reconstruct
from recon import operators as ops
from recon.info import ReconstructionWarning
from recon.psf import gaussian, motion
from solvers.admm import ADMM
from solvers.gradient import ProximalGradient
from solvers.loop import Status, solve

N = 64


@pytest.fixture(scope="module")
def truth():
    from skimage import data, transform

    return transform.resize(data.camera()[:400, 60:460], (N, N), anti_aliasing=True).astype(np.float32)


@pytest.fixture(scope="module")
def blurred(truth):
    A = ops.Blur(gaussian(1.2), truth.shape)
    return A, A(truth) + 0.01 * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)


def test_deblurring_beats_the_measurement_and_says_why(truth, blurred):
    A, y = blurred
    x, info = reconstruct(y, A, return_info=True)
    assert x.shape == truth.shape and x.dtype == np.float32
    assert psnr(truth, x) > psnr(truth, y) + 1.5
    assert info.status is Status.CONVERGED and info.trusted and not info.warnings
    assert 0.8 < info.residual < 1.2
    assert info.plan.strength == info.choice.strength and f"{info.plan.strength:.4g}" in str(info.plan)
    assert "gcv" in str(info) and set(info.seconds) == {"selection", "solve", "total"}


def test_strength_takes_back_the_number_it_gave(blurred):
    A, y = blurred
    x, info = reconstruct(y, A, return_info=True, tol=1e-5)
    again, given = reconstruct(y, A, strength=info.plan.strength, return_info=True, tol=1e-5)
    assert given.choice is None and given.plan.strength == info.plan.strength
    np.testing.assert_allclose(again, x, atol=2e-3)


def test_the_strength_is_nearly_the_best_one(truth, blurred):
    A, y = blurred
    x, info = reconstruct(y, A, return_info=True)
    best = max(psnr(truth, reconstruct(y, A, strength=info.plan.strength * f)) for f in np.geomspace(0.1, 10, 15))
    assert psnr(truth, x) > best - 0.2


def test_the_same_call_gives_the_same_bits(blurred):
    A, y = blurred
    np.testing.assert_array_equal(reconstruct(y, A), reconstruct(y, A))


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_units_do_not_matter(blurred, unit):
    A, y = blurred
    np.testing.assert_allclose(reconstruct(unit * y, A) / unit, reconstruct(y, A), atol=1e-3)


def test_double_precision_stays(blurred):
    A, y = blurred
    assert reconstruct(y.astype(np.float64), A).dtype == np.float64


def test_integers_are_taken_for_their_values(blurred):
    A, y = blurred
    counts = np.rint(y * 1000).clip(0).astype(np.uint16)
    np.testing.assert_array_equal(reconstruct(counts, A), reconstruct(counts.astype(np.float32), A))


def test_colour_images_keep_their_layout(truth):
    colours = np.stack([truth, 0.5 * truth, 1 - truth], axis=-1)
    A = ops.Blur(gaussian(1.2), truth.shape)
    y = np.moveaxis(A(np.moveaxis(colours, -1, 0)), 0, -1)
    y = y + 0.01 * np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    x, info = reconstruct(y, A, channel_axis=-1, return_info=True, tol=1e-5)
    assert x.shape == colours.shape and "channels coupled" in str(info.plan)
    assert psnr(colours, x) > psnr(colours, y) + 1
    same = reconstruct(np.moveaxis(y, -1, 0), A, channel_axis=0, strength=info.plan.strength, tol=1e-5)
    np.testing.assert_allclose(np.moveaxis(same, 0, -1), x, atol=5e-3)


def test_a_batch_is_reconstructed_image_by_image(truth, blurred):
    A, y = blurred
    both = reconstruct(np.stack([y, y[::-1]]), A, strength=1e-3, tol=1e-5)
    assert both.shape == (2, *truth.shape)
    np.testing.assert_allclose(both[0], reconstruct(y, A, strength=1e-3, tol=1e-5), atol=2e-3)


def test_tensors_come_back_as_tensors_with_the_same_values(blurred):
    torch = pytest.importorskip("torch")
    A, y = blurred
    x = reconstruct(torch.from_numpy(y), A)
    assert isinstance(x, torch.Tensor)
    np.testing.assert_allclose(x.numpy(), reconstruct(y, A), atol=2e-3)


def test_bounds_are_kept(blurred):
    A, y = blurred
    x, info = reconstruct(y, A, bounds=(0.2, 0.6), return_info=True)
    assert x.min() >= 0.2 and x.max() <= 0.6
    assert "bounds" in info.plan.decisions


def test_unknown_boundaries_beat_the_periodic_assumption(truth):
    from skimage import data

    scene = data.camera()[100:200, 100:200].astype(np.float32) / 255
    psf = motion(9, 30)
    A = ops.Blur(psf, (N, N), boundary="unknown")
    full = ops.Blur(psf, scene.shape)(scene)[18:82, 18:82]
    y = full + 0.005 * np.random.default_rng(0).standard_normal(full.shape).astype(np.float32)
    target = scene[18:82, 18:82]
    free = reconstruct(y, A)[A.interior]
    wrapped = reconstruct(y, ops.Blur(psf, (N, N)))
    assert psnr(target, free) > psnr(target, wrapped) + 1


def test_inpainting_fills_the_holes(truth):
    mask = np.random.default_rng(0).random(truth.shape) < 0.5
    A = ops.Mask(mask)
    y = A(truth + 0.01 * np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32))
    x, info = reconstruct(y, A, return_info=True)
    assert psnr(truth, x) > 20 and info.choice.criterion == "seen and unseen"


def test_few_views_beat_filtered_back_projection(truth):
    from recon import fbp

    A = ops.ParallelBeam(truth.shape, 40, spacing=1 / N)
    y = A(truth)
    y = y + 0.01 * y.std() * np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    assert psnr(truth, reconstruct(y, A)) > psnr(truth, fbp(y, A)) + 2


def test_complex_images_from_undersampled_k_space(truth):
    rng = np.random.default_rng(0)
    mask = rng.random((N, N)) < 0.4
    mask[N // 2 - 6 : N // 2 + 6, N // 2 - 6 : N // 2 + 6] = True
    A = ops.CartesianMRI(mask)
    phase = np.exp(1j * np.linspace(0, 1, N)).astype(np.complex64)
    k = A(truth * phase)
    k = k + mask * (0.01 * (rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape))).astype(np.complex64)
    x, info = reconstruct(k, A, return_info=True)
    assert x.dtype == np.complex64 and info.choice.criterion == "seen and unseen"
    assert psnr(truth, abs(x)) > psnr(truth, abs(A.adjoint(k))) + 2


def test_photon_counts(truth):
    A = ops.Blur(gaussian(1.2), truth.shape)
    rate = 200 * A(truth)
    y = np.random.default_rng(0).poisson(rate).astype(np.float32)
    x, info = reconstruct(y, A, noise="poisson", return_info=True)
    assert psnr(truth, x / 200) > psnr(truth, y / 200) + 2
    assert 0.7 < info.residual < 1.3


@pytest.mark.parametrize("prior", ["tv", "wavelet", "tikhonov", "none", priors.TotalVariation(isotropic=False)])
def test_every_prior_goes_with_every_kind_of_operator(truth, blurred, prior):
    A, y = blurred
    views = ops.ParallelBeam(truth.shape, 30, spacing=1 / N)
    for operator, measurement in ((A, y), (views, views(truth)), (ops.Downsample(2, truth.shape), y[::2, ::2])):
        x = reconstruct(measurement, operator, prior=prior, max_iter=60, tol=1e-2)
        assert x.shape == truth.shape and np.isfinite(x).all()


@pytest.mark.parametrize("solver", ["admm", "fista", "pdhg"])
def test_solvers_agree_on_the_minimiser(blurred, solver):
    A, y = blurred
    reference = reconstruct(y, A, strength=2e-3, tol=1e-5, max_iter=2000)
    x = reconstruct(y, A, strength=2e-3, solver=solver, tol=2e-5, max_iter=4000)
    np.testing.assert_allclose(x, reference, atol=5e-3)


def test_tikhonov_equals_its_closed_form(blurred):
    A, y = blurred
    x = reconstruct(y.astype(np.float64), A, prior="tikhonov", strength=0.01, tol=1e-9, max_iter=2000)
    np.testing.assert_allclose(x, A.solve_shifted(A.adjoint(y.astype(np.float64)), 0.01), atol=1e-6)


def test_smoothness_by_a_forward_operator_equals_its_normal_equations(blurred):
    A, y = blurred
    D = ops.FiniteDifference(A.in_shape, periodic=True)
    x = reconstruct(y.astype(np.float64), A, prior=priors.Tikhonov(D), strength=0.01, tol=1e-9, max_iter=2000)
    residual = A.gram(x) + 0.01 * D.gram(x) - A.adjoint(y.astype(np.float64))
    assert np.abs(residual).max() < 1e-7
    smooth = priors.Tikhonov(D).prox(x, 0.3)
    np.testing.assert_allclose(smooth + 0.3 * D.gram(smooth), x, atol=1e-9)


def test_matrices_scipy_operators_and_callables_are_operators_too():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((40, 20))
    y = matrix @ np.repeat(rng.standard_normal(4), 5)
    options = {"strength": 0.1, "tol": 1e-8, "max_iter": 3000}
    x = reconstruct(y, matrix, **options)
    for same in (
        scipy.sparse.csr_array(matrix),
        scipy.sparse.linalg.aslinearoperator(matrix),
        (lambda v: matrix @ v, lambda r: matrix.T @ r),
        ops.from_matrix(matrix),
    ):
        np.testing.assert_allclose(reconstruct(y, same, **options), x, atol=1e-6)


def test_a_start_at_the_answer_stays_there(blurred):
    A, y = blurred
    x = reconstruct(y, A, strength=1e-3, tol=1e-5, max_iter=3000)
    again = reconstruct(y, A, strength=1e-3, x0=x, tol=1e-3)
    np.testing.assert_allclose(again, x, atol=5e-3)


def test_a_callback_sees_every_step_and_can_stop(blurred):
    A, y = blurred
    seen = []
    _, info = reconstruct(y, A, strength=1e-3, callback=lambda state, k: seen.append(k) or k == 4, return_info=True)
    assert seen == [1, 2, 3, 4] and info.status is Status.STOPPED


def test_data_that_contradict_the_operator_are_reported(truth):
    views = ops.ParallelBeam(truth.shape, 30, spacing=1 / N)
    shifted = ops.ParallelBeam(truth.shape, 30, spacing=1 / N, center=(views.out_shape[-1] - 1) / 2 + 6)
    with pytest.warns(ReconstructionWarning, match="times the noise"):
        _, info = reconstruct(shifted(truth), views, noise=1e-3, max_iter=100, return_info=True)
    assert not info.trusted


def test_divergence_is_reported_with_the_best_image(blurred):
    A, y = blurred
    from functools import partial

    with pytest.warns(ReconstructionWarning, match="diverged"), np.errstate(all="ignore"):
        x, info = reconstruct(
            y, A, strength=1e-3, solver=partial(ProximalGradient, step_size=5.0), max_iter=3000, return_info=True
        )
    assert info.status is Status.DIVERGED and np.isfinite(x).all() and not info.trusted


def test_an_early_end_is_reported(blurred):
    A, y = blurred
    with pytest.warns(ReconstructionWarning, match="Raise max_iter"):
        reconstruct(y, A, strength=1e-3, max_iter=5, tol=1e-9)


def test_the_plan_says_what_and_why_without_solving(blurred):
    A, y = blurred
    intended = plan(y, A, noise=Gaussian(0.01))
    assert intended.strength is None and intended.criterion == "sure" and intended.sigma_known
    assert set(intended.decisions) == {"noise", "data term", "prior", "solver", "strength", "stop"}
    assert "closed form" in str(intended) and "<table>" in intended._repr_html_()


def test_info_plots_and_shows_itself_in_a_notebook(blurred):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    A, y = blurred
    _, info = reconstruct(y, A, return_info=True)
    figure = info.plot()
    assert len(figure.axes) == 3 and figure.axes[2].get_xlabel() == "strength"
    assert "<table>" in info._repr_html_() and "converged" in info._repr_html_()


def test_info_travels_to_another_process(blurred):
    import pickle

    A, y = blurred
    _, info = reconstruct(y, A, return_info=True)
    again = pickle.loads(pickle.dumps(info))
    assert again.plan.strength == info.plan.strength and again.status is info.status and str(again) == str(info)


def test_gradients_reach_the_measurement(blurred):
    torch = pytest.importorskip("torch")
    A, y = blurred
    measured = torch.from_numpy(y).requires_grad_()
    x = reconstruct(measured, A, strength=1e-3, max_iter=10)
    (gradient,) = torch.autograd.grad(x.sum(), measured)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_admm_keeps_the_objective_of_the_plan(blurred):
    A, y = blurred
    from solvers.data_terms import LeastSquares

    tv = priors.TotalVariation()
    algorithm = ADMM(LeastSquares(A, y), tv, 1e-3)
    found = solve(algorithm, np.zeros_like(y), max_iter=2000, tol=1e-6)
    expected = 0.5 * float(np.sum((A(found.image) - y) ** 2)) + 1e-3 * tv.value(found.image)
    assert algorithm.objective(found.image) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("psf", [gaussian(1.5), motion(9, 30)], ids=["gaussian", "motion"])
@pytest.mark.parametrize("cut", [0, 16])
def test_a_photograph_that_does_not_wrap_around_is_reported(psf, cut):
    from skimage import data

    whole = data.camera()[:256, 100:356] / 255.0
    y = ops.Blur(psf, whole.shape)(whole) + 0.002 * np.random.default_rng(0).standard_normal(whole.shape)
    y = y[cut : 256 - cut, cut : 256 - cut]  # only the uncut one wraps around
    told = ops.Blur(psf, y.shape).objection(y)
    assert (told is not None) == (cut > 0)
    if cut:
        assert "boundary='unknown'" in told
        with pytest.warns(ReconstructionWarning, match="does not wrap around"):
            _, info = reconstruct(y, ops.Blur(psf, y.shape), strength=1e-3, max_iter=10, return_info=True)
        assert not info.trusted
    assert ops.Blur(psf, y.shape, boundary="unknown").objection(y) is None


@pytest.mark.parametrize("complex_", [False, True])
def test_the_history_tells_the_residual_over_the_noise(complex_):
    rng = np.random.default_rng(0)
    truth = np.kron(rng.random((4, 4)), np.ones((8, 8)))
    A = ops.CartesianMRI(rng.random((32, 32)) < 0.5) if complex_ else ops.Blur(np.ones((3, 3)) / 9, truth.shape)
    y = A(truth + 0.05 * rng.standard_normal(truth.shape))
    _, info = reconstruct(y, A, prior="tv", return_info=True)
    assert {len(values) for values in info.history.values()} == {len(info.history["iteration"])}
    assert info.history["residual"][-1] == pytest.approx(info.residual, rel=1e-3)
    _, poisson = reconstruct(np.abs(y).round(), ops.Identity(y.shape), prior="tv", noise="poisson", return_info=True)
    assert "residual" not in poisson.history and np.isfinite(poisson.history["misfit"]).all()


@pytest.mark.parametrize("noise", ["auto", "poisson-gaussian", "rician", "impulse", 0.0, 0.01])
def test_a_blank_frame_is_a_blank_image(noise):
    assert not reconstruct(np.zeros((32, 32)), ops.Identity((32, 32)), noise=noise).any()


@pytest.mark.parametrize("prior", ["tv", "wavelet", "tikhonov", "learned"])
@pytest.mark.parametrize(
    "operator",
    [
        ops.Blur(np.ones((3, 3)) / 9, (32, 32)),
        ops.ParallelBeam((32, 32), angles=12),
        ops.CartesianMRI(np.random.default_rng(0).random((32, 32)) < 0.5),
        ops.Saturation((32, 32), level=1.0),
    ],
)
def test_a_blank_measurement_is_a_blank_image(operator, prior):
    y = np.zeros(operator.out_shape, complex if operator.kind == "complex" else float)
    assert np.abs(reconstruct(y, operator, prior=prior)).max() < 1e-5
