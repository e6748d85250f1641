"""Operators from YAML: the same as from the constructor, and every mistake is named with its line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon import files, gaps, operators, sampling, trajectories
from recon import psf as psfs
from recon.spec import load_operator, operator_names
from solvers.errors import FileError, ReconError, SpecError

RNG = np.random.default_rng(0)
PSF = np.outer([1.0, 2.0, 1.0], [1.0, 3.0, 1.0]) / 20
MASK = RNG.random((8, 9)) < 0.5
COILS = (RNG.normal(size=(3, 8, 9)) + 1j * RNG.normal(size=(3, 8, 9))).astype(np.complex64)


def load(tmp_path: Path, text: str, y_shape: tuple[int, ...] | None = None) -> Any:
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    return load_operator(tmp_path / "spec.yaml", y_shape)


def assert_same(operator: Any, expected: Any) -> None:
    assert type(operator) is type(expected)
    assert (operator.in_shape, operator.out_shape) == (expected.in_shape, expected.out_shape)
    x = RNG.normal(size=expected.in_shape)
    np.testing.assert_array_equal(operator(x), expected(x))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files.write(tmp_path / "psf.npy", PSF)
    files.write(tmp_path / "psf.png", np.rint(PSF * 2000).astype(np.uint16))
    files.write(tmp_path / "mask.png", (255 * MASK).astype(np.uint8))
    files.write(tmp_path / "mri.h5:/coils", COILS)
    files.write(tmp_path / "mri.h5:/mask", MASK.astype(np.uint8))
    files.write(tmp_path / "theta.npy", np.arange(0, 180, 45.0))
    return tmp_path


def test_operators_equal_their_constructors(folder: Path) -> None:
    def from_yaml(text: str, y_shape: tuple[int, ...] | None = None) -> Any:
        return load(folder, text, y_shape)

    blur = operators.Blur(PSF, (8, 9))
    assert_same(from_yaml("operator: blur\nshape: [8, 9]\npsf: psf.npy"), blur)
    assert_same(from_yaml("operator: blur\npsf: psf.npy", (4, 8, 9)), blur)
    assert_same(from_yaml("{operator: blur, psf: [[0.05, 0.15], [0.1, 0.3]]}", (8, 9)),
                operators.Blur(np.array([[0.05, 0.15], [0.1, 0.3]]), (8, 9)))  # fmt: skip
    assert_same(from_yaml("operator: blur\npsf: psf.npy\nboundary: unknown", (8, 9)),
                operators.Blur(PSF, (8, 9), boundary="unknown"))  # fmt: skip
    assert_same(from_yaml("operator: mask\nmask: mask.png"), operators.Mask(MASK))
    assert_same(from_yaml("operator: mask\nmask: [[0, 1, 1], [true, false, 0]]"),
                operators.Mask(np.array([[0, 1, 1], [1, 0, 0]])))  # fmt: skip
    assert_same(from_yaml("operator: identity", (3, 4)), operators.Identity((3, 4)))
    assert_same(from_yaml("operator: downsample\nfactor: 2\nshape: [8, 10]"), operators.Downsample(2, (8, 10)))
    assert_same(from_yaml("operator: finite_difference\nshape: [8, 9]"), operators.FiniteDifference((8, 9)))
    assert_same(from_yaml("operator: cartesian_mri\nmask: mri.h5:/mask\ncoils: mri.h5:/coils"),
                operators.CartesianMRI(MASK, COILS))  # fmt: skip


def test_a_picture_of_a_psf_keeps_the_brightness(folder: Path) -> None:
    picture = load(folder, "operator: blur\npsf: psf.png\nshape: [8, 9]")
    np.testing.assert_allclose(picture.psf, PSF, rtol=1e-12)
    np.testing.assert_allclose(picture(np.ones((8, 9))), 1.0)


def test_psf_shapes(tmp_path: Path) -> None:
    y, x = np.mgrid[-8:9, -12:13]
    expected = np.exp(-0.5 * ((y / 2) ** 2 + (x / 3) ** 2))
    blur = load(tmp_path, "operator: blur\nshape: [32, 32]\npsf: {gaussian: {sigma: [2, 3]}}")
    np.testing.assert_allclose(blur.psf, expected / expected.sum(), atol=1e-15)
    assert load(tmp_path, "operator: blur\nshape: [32, 32]\npsf: {gaussian: {sigma: 2, size: 5}}").psf.shape == (5, 5)
    uniform = load(tmp_path, "operator: blur\nshape: [32, 32]\npsf: {uniform: {size: [3, 5]}}")
    np.testing.assert_allclose(uniform.psf, np.full((3, 5), 1 / 15))
    for text, expected in (
        ("{motion: {length: 9, degrees: 20}}", psfs.motion(9, 20)),
        ("{camera_shake: {length: 12, size: 15, rng: 3}}", psfs.camera_shake(12, 15, rng=3)),
        ("{defocus: {radius: 2.5}}", psfs.defocus(2.5)),
        ("{airy: {wavelength: 5e-1, na: 0.9, pixel: 0.1, size: 9}}", psfs.airy(0.5, 0.9, 0.1, 9)),
        ("{measured: {image: [[0, 0, 0], [1, 2, 1], [0, 0, 0]]}}", [[0, 0, 0], [0.25, 0.5, 0.25], [0, 0, 0]]),
    ):
        blur = load(tmp_path, f"operator: blur\nshape: [32, 32]\npsf: {text}")
        np.testing.assert_allclose(blur.psf, expected, atol=1e-15)


def test_super_resolution_and_mosaics(folder: Path) -> None:
    files.write(folder / "shifts.npy", np.array([[0.0, 0.5], [1.2, -0.3]]))
    files.write(folder / "psfs.npy", RNG.random((1, 2, 3, 3)))
    assert_same(load(folder, "operator: downsample\nfactor: 2\nshape: [8, 10]\npsf: bicubic"),
                operators.Downsample(2, (8, 10), psf="bicubic"))  # fmt: skip
    assert_same(load(folder, "operator: multi_frame\nfactor: 2\nshape: [8, 10]\nshifts: shifts.npy"),
                operators.MultiFrame([[0.0, 0.5], [1.2, -0.3]], 2, (8, 10)))  # fmt: skip
    assert_same(load(folder, "operator: resample\nshape: [8, 9]\nout_shape: [5, 4]\nkernel: area"),
                operators.Resample((8, 9), (5, 4), kernel="area"))  # fmt: skip
    assert_same(load(folder, "operator: shift\nshift: [0.5, -2]", (8, 9)), operators.Shift((8, 9), (0.5, -2)))
    assert_same(load(folder, "operator: bayer\npattern: BGGR", (8, 9)), operators.Bayer((8, 9), "BGGR"))
    given = files.read(folder / "psfs.npy").array
    assert_same(load(folder, "operator: varying_blur\nshape: [8, 9]\npsfs: psfs.npy\nboundary: reflecting"),
                operators.VaryingBlur(given, (8, 9), boundary="reflecting"))  # fmt: skip
    with pytest.raises(SpecError, match="psf has dtype"):
        load(folder, "operator: blur\npsf: bicubic\nshape: [8, 9]")
    with pytest.raises(SpecError, match="needs the parameter 'shape'"):
        load(folder, "operator: blur\npsf: bicubic", (8, 9))


@pytest.mark.parametrize(
    "angles",
    [
        "{start: 0, stop: 180, count: 4, degrees: true}",
        "{stop: 3.141592653589793, count: 4}",
        "{values: theta.npy, degrees: true}",
        "{values: [0, 45, 90, 135], degrees: true}",
        "[0, 0.7853981633974483, 1.5707963267948966, 2.356194490192345]",
    ],
)
def test_angles(folder: Path, angles: str) -> None:
    expected = operators.ParallelBeam((16, 16), np.pi / 4 * np.arange(4), detectors=20)
    beam = load(folder, f"operator: parallel_beam\nshape: [16, 16]\ndetectors: 20\nangles: {angles}")
    x = RNG.normal(size=(16, 16))
    np.testing.assert_allclose(beam(x), expected(x), atol=1e-12)


def test_a_mapping_will_do_and_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    assert_same(load_operator({"operator": "mask", "mask": MASK}), operators.Mask(MASK))
    spec = "operator: parallel_beam\nshape: [8, 8]\nangles: [0]\nspacing: 1e-3"
    assert load(tmp_path, spec).in_shape == (8, 8)
    with pytest.raises(ReconError, match="spacing"):
        load(tmp_path, spec.replace("1e-3", "wide"))


def test_every_operator_has_a_name() -> None:
    names = operator_names()
    classes = {name for name in operators.__all__ if inspect.isclass(getattr(operators, name))}
    no_models = {"Operator", "LinearOperator", "NonlinearOperator", "PointwiseOperator", "Unknown"}
    assert set(names.values()) == classes - no_models
    assert (names["blur"], names["parallel_beam"], names["cartesian_mri"]) == ("Blur", "ParallelBeam", "CartesianMRI")


def test_masks_and_trajectories_by_their_functions(tmp_path: Path) -> None:
    def mask(text: str) -> np.ndarray:
        return load(tmp_path, f"operator: mask\nmask: {text}").sampling

    lines = sampling.variable_density_lines(16, 2, rng=3)
    drawn = mask("{variable_density_lines: {count: 16, acceleration: 2, rng: 3}, samples: 5}")
    np.testing.assert_array_equal(drawn, np.repeat(lines[:, None], 5, axis=1))
    np.testing.assert_array_equal(mask("{landsat7_gaps: {shape: [40, 30]}}"), gaps.landsat7_gaps((40, 30)))
    points = sampling.caipirinha((8, 6), (2, 2))
    np.testing.assert_array_equal(mask("{caipirinha: {shape: [8, 6], acceleration: [2, 2]}}"), points)
    scan = "operator: non_cartesian_mri\nshape: [8, 8]\ntrajectory: {radial: {spokes: 5, samples: 16, golden: true}}"
    spokes = trajectories.radial(5, 16, golden=True)
    np.testing.assert_array_equal(load(tmp_path, scan).trajectory, spokes)


def test_arrays_of_all_operators_stand_in_files(tmp_path: Path) -> None:
    arrays = {"uv": (9, 2), "trajectories": (2, 5, 2), "matrix": (3, 3), "gain": (8, 9), "counts": (4, 12)}
    for name, shape in arrays.items():
        files.write(tmp_path / f"{name}.npy", RNG.uniform(0.5, 1.0, shape))
    given = {name: files.read(tmp_path / f"{name}.npy").array for name in arrays}
    frames = np.stack([MASK, ~MASK])
    files.write(tmp_path / "masks.npy", frames)
    pairs = [
        ("radio_interferometry\nuv: uv.npy\npixel: 0.1", operators.RadioInterferometry(given["uv"], (8, 9), 0.1)),
        ("dynamic_mri\nmasks: masks.npy", operators.DynamicMRI(frames)),
        (
            "dynamic_non_cartesian_mri\ntrajectories: trajectories.npy",
            operators.DynamicNonCartesianMRI(given["trajectories"], (8, 9)),
        ),
        ("colour_mixing\nmatrix: matrix.npy", operators.ColourMixing(given["matrix"], (8, 9))),
        ("illumination\ngain: gain.npy", operators.Illumination(given["gain"], (8, 9))),
    ]
    for text, expected in pairs:
        shaped = "" if "masks" in text else "\nshape: [8, 9]"
        assert_same(load(tmp_path, f"operator: {text}{shaped}"), expected)
    scan = "operator: transmission\ncounts: counts.npy\nprojector: {operator: parallel_beam, shape: [8, 8], angles: 4}"
    expected = operators.Transmission(operators.ParallelBeam((8, 8), 4), given["counts"])
    assert_same(load(tmp_path, scan), expected)


def test_an_operator_within_an_operator_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"line 3: blur has no parameter 'psff'"):
        load(tmp_path, "operator: phaseless\nfield:\n  {operator: blur, psff: [[1]]}", (8, 9))
    with pytest.raises(SpecError, match=r"line 2: .*key operator"):
        load(tmp_path, "operator: phaseless\nfield: blur", (8, 9))
    with pytest.raises(SpecError, match=r"line 2: samples is 'many'"):
        load(tmp_path, "operator: mask\nmask: {uniform_lines: {count: 8, acceleration: 2}, samples: many}")
    with pytest.raises(SpecError, match=r"Did you mean 'uniform_lines'"):
        load(tmp_path, "operator: mask\nmask: {unifrom_lines: {count: 8, acceleration: 2}}")


def test_compositions_equal_their_python(folder: Path) -> None:
    blur, mask = operators.Blur(PSF, (8, 9)), operators.Mask(MASK)
    parts = "\noperators:\n  - {operator: mask, mask: mask.png}\n  - {operator: blur, psf: psf.npy}"
    explicit = parts.replace("psf.npy", "psf.npy, shape: [8, 9]")
    assert_same(load(folder, "operator: product" + parts), mask @ blur)  # the shape follows from the mask
    assert_same(load(folder, "operator: product" + parts, (8, 9)), mask @ blur)
    assert_same(load(folder, "operator: sum" + parts, (8, 9)), mask + blur)
    assert_same(load(folder, "operator: stack" + parts, (2, 8, 9)), operators.stack([mask, blur]))
    assert_same(load(folder, "operator: block_diagonal" + parts, (2, 8, 9)), operators.block_diagonal([mask, blur]))
    flat = load(folder, "operator: block_diagonal\nflatten: true" + explicit)
    assert_same(flat, operators.block_diagonal([mask, blur], flatten=True))


def test_compositions_nest(folder: Path) -> None:
    text = """
operator: stack
operators:
  - operator: product
    operators:
      - {operator: restriction, indices: [1, 0], axis: 0, shape: [8, 9]}
      - {operator: blur, psf: psf.npy}
  - {operator: restriction, indices: [2, 3], axis: 0, shape: [8, 9]}
"""
    first, last = (operators.Restriction(rows, (8, 9), axis=0) for rows in ([1, 0], [2, 3]))
    assert_same(load(folder, text), operators.stack([first @ operators.Blur(PSF, (8, 9)), last]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("operator: product", "line 1: product needs operators, a list"),
        ("operator: sum\noperators: blur", "line 2: sum needs operators, a list"),
        ("operator: sum\noperators: []", "line 2: sum needs operators, a list"),
        ("operator: sum\noperatrs: []", "line 2: sum has no parameter 'operatrs'.*Did you mean 'operators'"),
        ("operator: sum\noperators:\n  - blur", "line 3: expected a mapping with the key operator"),
        ("operator: sum\noperators:\n  - operator: identity\n    shpe: 3", "line 4: identity has no parameter 'shpe'"),
        ("operator: sum\noperators:\n  - {operator: mask, mask: [[0, 0]]}", "line 3: mask: mask is False everywhere"),
        (
            "operator: sum\noperators:\n  - {operator: identity, shape: [3]}\n  - {operator: identity, shape: [4]}",
            "line 1: sum: cannot add",
        ),
        ("operator: stack\nflatten: 1\noperators: [{operator: identity, shape: 3}]", "line 2: flatten is 1"),
        (
            "operator: stack\noperators:\n  - {operator: identity, shape: 3, shape: 4}",
            "line 3: shape stands again on line 3",
        ),
        ("operator: sum\noperators: &a [{operator: sum, operators: *a}]", "an alias contains itself"),
    ],
)
def test_mistakes_in_compositions_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(tmp_path, text)


def test_a_fan_and_a_number_of_angles(folder: Path) -> None:
    spec = "operator: fan_beam\nshape: [16, 16]\nsource_distance: 40\ndetector_distance: 2e1\ndetector: curved\n"
    expected = operators.FanBeam((16, 16), 180, source_distance=40.0, detector_distance=20.0, detector="curved")
    assert_same(load(folder, spec + "angles: 180"), expected)
    assert_same(load(folder, spec + "angles: {stop: 360, count: 180, degrees: true}"), expected)
    half = load(folder, "operator: parallel_beam\nshape: [8, 8]\nangles: 90")
    np.testing.assert_array_equal(half.angles, np.pi / 90 * np.arange(90))


BLUR = "operator: blur\nshape: [32, 32]\n"
BEAM = "operator: parallel_beam\nshape: [16, 16]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping with the key operator"),
        ("- a\n- b", "expected a mapping with the key operator"),
        ("shape: [3, 3]", "expected a mapping with the key operator"),
        ("operator: [blur", r"line 1, column 16: malformed YAML"),
        ("operator: blur\n\tshape: 3", r"line 2, column 1: malformed YAML"),
        ("operator: !!python/object/apply:os.system ['false']", "line 1, column 11: malformed YAML"),
        ("operator: blurr", r"line 1: operator is 'blurr'.*Did you mean 'blur'"),
        ("# a comment\noperator: 3", "line 2: operator is 3"),
        (BLUR + "psff: psf.npy", r"line 3: blur has no parameter 'psff'.*psf, shape, boundary.*Did you mean 'psf'"),
        (BLUR + "3: 4", "line 3: blur has no parameter 3"),
        (BLUR + "shape: [2, 2]", "line 2: shape stands again on line 3"),
        (BLUR, "line 1: blur needs the parameter 'psf'"),
        ("operator: blur\npsf: [[1]]", r"line 1: blur needs the parameter 'shape'.*shape: \[512, 512\]"),
        (BLUR + "psf: absent.npy", r"line 3: psf: .*absent\.npy does not exist"),
        (BLUR + "psf: garbage.npy", r"line 3: psf: .*garbage\.npy is not a NPY"),
        (BLUR + "psf: [[1, 2], [3]]", "line 3: psf has rows of different lengths"),
        (BLUR + "psf: [[a, b]]", "line 3: psf is .* expected numbers"),
        (BLUR + "psf: []", "line 3: psf is .* expected numbers"),
        (BLUR + "psf: {gausian: {sigma: 2}}", r"line 3: psf has the keys \['gausian'\].*Did you mean 'gaussian'"),
        (BLUR + "psf:\n  gaussian: {sigmo: 2}", r"line 4: gaussian is .*expected a mapping with sigma, size"),
        (BLUR + "psf:\n  gaussian: {}", "line 4: gaussian: .*sigma"),
        (BLUR + "psf:\n  gaussian: {sigma: -1}", "line 4: gaussian: sigma is -1.*above 0"),
        (BLUR + "psf:\n  gaussian: {sigma: .nan}", "line 4: gaussian: sigma is nan.*above 0"),
        (BLUR + "psf: [[0, 0]]", "line 1: blur: psf is zero everywhere"),
        (BLUR + "psf: {gaussian: {sigma: 9}}", r"line 1: blur: psf has shape \(73, 73\)"),
        (BLUR + "psf: [[1]]\nboundary: periodc", r"line 1: blur: boundary is 'periodc'.*Did you mean 'periodic'"),
        ("operator: mask\nmask: [[0, 1], [2, 3]]", r"line 2: mask holds 4 values \(0, 1, 2, 3"),
        ("operator: mask\nmask: [[1, 2]]", r"line 2: mask holds 2 values \(1, 2"),
        ("operator: mask\nmask: [[0, 0]]", "line 1: mask: mask is False everywhere"),
        ("operator: identity\nshape: big", "line 1: identity: .*shape is 'big'"),
        (BEAM + "angles: [0, 45, 90]", r"line 3: angles reach 90; expected radians.*degrees: true"),
        (BEAM + "angles: {start: 0, stop: 3}", "line 3: count is None"),
        (BEAM + "angles: {start: 0, stop: 3, count: true}", "line 3: count is True"),
        (BEAM + "angles: {start: 0, count: 3}", "line 3: start is 0 and stop is None"),
        (BEAM + "angles:\n  stop: 3\n  cuont: 3", r"line 5: angles has no key 'cuont'.*Did you mean 'count'"),
        (BEAM + "angles:\n  stop: 3\n  count: 3\n  degrees: 1", "line 6: degrees is 1; expected true or false"),
        (BEAM + "angles: [0, .nan]", r"line 1: parallel_beam: angles .*NaN"),
    ],
)
def test_every_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "garbage.npy").write_bytes(b"garbage")
    with pytest.raises(SpecError, match=message) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "spec.yaml"))


def test_files_that_are_no_specification(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent\.yaml cannot be read: No such file"):
        load_operator(tmp_path / "absent.yaml")
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        load_operator(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\xd8 operator")
    with pytest.raises(SpecError, match="not a text file"):
        load_operator(tmp_path / "a.yaml")
    with pytest.raises(SpecError, match="an alias contains itself"):
        load(tmp_path, "operator: blur\npsf: &a {gaussian: *a}")
    with pytest.raises(SpecError, match=r"specification: operator is 'bblur'"):
        load_operator({"operator": "bblur"})
