"""Files: what is written comes back, damage is named, and an output appears whole or not at all."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from recon import files
from solvers.errors import ArgumentError, DTypeError, FileError

RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(40, 30)).astype(np.float32)
GREY16 = RNG.integers(0, 65536, (40, 30)).astype(np.uint16)
GREY8 = RNG.integers(0, 256, (40, 30)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (40, 30, 3)).astype(np.uint8)
COMPLEX = (FLOATS + 1j * FLOATS[::-1]).astype(np.complex64)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.png", GREY8),
        ("a.PNG", GREY16),
        ("a.png", COLOUR),
        ("a.tif", GREY16),
        ("a.tiff", FLOATS),
        ("a.tif", FLOATS.astype(np.float64)),
        ("a.tif", COLOUR),
        ("a.tif", RNG.normal(size=(2, 5, 6, 7)).astype(np.float32)),
        ("a.npy", FLOATS),
        ("a.NPY", COMPLEX),
        ("a.npy", RNG.integers(-9, 9, (3, 4))),
        ("a.NPZ", COMPLEX),
        ("a.H5", COMPLEX),
        ("a.hdf5", FLOATS),
        ("a.h5:/group/image", GREY16),
        ("a.npz:image2", FLOATS),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}-{value.ndim}d",
)
def test_what_is_written_comes_back(tmp_path: Path, name: str, array: np.ndarray) -> None:
    files.write(tmp_path / name, array)
    back = files.read(tmp_path / name).array
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert len(os.listdir(tmp_path)) == 1, "a temporary file was left"


def test_a_torch_tensor_is_written(tmp_path: Path) -> None:
    import torch

    files.write(tmp_path / "a.npy", torch.from_numpy(FLOATS).requires_grad_())
    np.testing.assert_array_equal(files.read(tmp_path / "a.npy").array, FLOATS)


# --- PNG holds integers -----------------------------------------------------------------------------------------------


def test_png_scales_unit_floats_to_16_bit_grey_and_8_bit_colour(tmp_path: Path) -> None:
    files.write(tmp_path / "grey.png", GREY16 / np.float32(65535))
    np.testing.assert_array_equal(files.read(tmp_path / "grey.png").array, GREY16)
    files.write(tmp_path / "colour.png", COLOUR / 255.0)
    colour = files.read(tmp_path / "colour.png")
    np.testing.assert_array_equal(colour.array, COLOUR)
    assert colour.metadata["channel_axis"] == -1


def test_png_takes_over_the_integers_of_its_source(tmp_path: Path) -> None:
    source = files.Measurement(GREY8)
    files.write(tmp_path / "a.png", GREY8 + np.float32(0.3), like=source, clip=False)
    back = files.read(tmp_path / "a.png").array
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, GREY8)
    with pytest.raises(FileError, match=r"outside 0 to 255 \(smallest -1"):
        files.write(tmp_path / "b.png", GREY8 - 1.0, like=source)


@pytest.mark.parametrize("value", [1.001, -0.001])
def test_png_refuses_what_it_cannot_hold(tmp_path: Path, value: float) -> None:
    array = np.full((4, 5), 0.5)
    array[1, 2] = value
    with pytest.raises(FileError, match=rf"1 of 20 values lie outside 0 to 1 .*{value}.*--range.*--clip"):
        files.write(tmp_path / "a.png", array)
    assert not os.listdir(tmp_path)


def test_png_range_and_clip(tmp_path: Path) -> None:
    ramp = np.linspace(-1000, 3000, 20).reshape(4, 5)
    files.write(tmp_path / "a.png", ramp, value_range=(-1000, 3000))
    expected = np.rint(np.linspace(0, 65535, 20)).reshape(4, 5)
    np.testing.assert_array_equal(files.read(tmp_path / "a.png").array, expected)
    with pytest.raises(FileError, match="10 of 20"):
        files.write(tmp_path / "b.png", ramp, value_range=(-2000, 1000))
    files.write(tmp_path / "b.png", ramp, value_range=(-2000, 1000), clip=True)
    clipped = files.read(tmp_path / "b.png").array
    assert (clipped == 65535).sum() == 10
    assert clipped[0, 0] == round(65535 / 3)


def test_the_range_an_error_proposes_works(tmp_path: Path) -> None:
    array = (RNG.normal(size=(20, 20)) * 1e-3 + 7).astype(np.float32)
    with pytest.raises(FileError) as caught:
        files.write(tmp_path / "a.png", array)
    low, high = str(caught.value).split("value_range=(")[1].split(")")[0].split(", ")
    files.write(tmp_path / "a.png", array, value_range=(float(low), float(high)))
    assert np.ptp(files.read(tmp_path / "a.png").array) == 65535


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_integers_cannot_hold_nan(tmp_path: Path, bad: float) -> None:
    array = np.full((4, 5), 0.5)
    array[0, 0] = bad
    for name, kwargs in [("a.png", {}), ("a.tif", {"dtype": "uint16"}), ("a.png", {"clip": True})]:
        with pytest.raises(FileError, match="1 values are NaN or infinite"):
            files.write(tmp_path / name, array, **kwargs)
    assert not os.listdir(tmp_path)
    files.write(tmp_path / "a.tif", array)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([[0, 256]]), "uint8"),
        (np.array([[-1, 5]]), "uint16"),
        (np.array([[0.0, 70000.0]]), "uint16"),
        (np.array([[0, 2**63]], dtype=np.uint64), "int16"),
    ],
)
def test_integer_overflow_is_refused_in_every_format(tmp_path: Path, array: np.ndarray, dtype: str) -> None:
    for name in ("a.tif", "a.npy", "a.npz", "a.h5"):
        with pytest.raises(FileError, match=r"1 of 2 values lie outside"):
            files.write(tmp_path / name, array, dtype=dtype)
    assert not os.listdir(tmp_path)
    files.write(tmp_path / "a.npy", array, dtype=dtype, clip=True)
    limits = np.iinfo(dtype)
    expected = [[min(max(int(v), limits.min), limits.max) for v in array[0]]]
    np.testing.assert_array_equal(files.read(tmp_path / "a.npy").array, np.array(expected, dtype=dtype))


def test_rounding_does_not_erase_an_image(tmp_path: Path) -> None:
    attenuation = np.abs(FLOATS) * 0.02
    with pytest.raises(FileError, match=r"would round to 1 level"):
        files.write(tmp_path / "a.png", attenuation, like=files.Measurement(GREY16))


def test_wrong_ranges_and_types(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="lower one first"):
        files.write(tmp_path / "a.png", FLOATS, value_range=(1, 1))
    with pytest.raises(DTypeError, match="integer dtype"):
        files.write(tmp_path / "a.npy", FLOATS, value_range=(0, 1), dtype="float32")
    with pytest.raises(FileError, match="1 values are too large for float32"):
        files.write(tmp_path / "a.npy", np.array([1e300, 1.0]), dtype="float32")
    with pytest.raises(FileError, match="complex"):
        files.write(tmp_path / "a.npy", COMPLEX, dtype="float32")
    for name in ("a.png", "a.tif"):
        with pytest.raises(FileError, match=r"cannot hold complex64.*--magnitude"):
            files.write(tmp_path / name, COMPLEX)
    with pytest.raises(FileError, match="one image at a time"):
        files.write(tmp_path / "a.png", np.zeros((2, 3, 4, 5), np.uint8))
    with pytest.raises(FileError, match="uint16 for grey only"):
        files.write(tmp_path / "a.png", COLOUR.astype(np.uint16))
    for empty in (np.zeros((0, 3)), np.float32(1.0), np.array(["a"]), np.array([None])):
        with pytest.raises(FileError, match="expected numbers"):
            files.write(tmp_path / "a.npy", empty)
    assert not os.listdir(tmp_path)


# --- damaged and foreign files ----------------------------------------------------------------------------------------


def ct_slice() -> Path:
    data = pytest.importorskip("pydicom.data", reason="reading DICOM needs pydicom")
    return Path(data.get_testdata_file("CT_small.dcm"))


def make(path: Path) -> Path:
    """A real file of the suffix of ``path``."""
    kind = path.suffix
    if kind == ".dcm":
        path.write_bytes(ct_slice().read_bytes())
    elif kind in (".jpg", ".webp"):
        from PIL import Image

        Image.fromarray(COLOUR).save(path)
    elif path.name.startswith("pages"):
        import tifffile

        with tifffile.TiffWriter(path) as file:
            for k in range(6):
                file.write(GREY16 + k, contiguous=False, metadata=None)
    elif path.name.startswith("packed"):
        import tifffile

        tifffile.imwrite(path, GREY16, compression="zlib", tile=(16, 16))
    else:
        files.write(path, GREY16)
    return path


EVERY = ["a.png", "a.jpg", "a.webp", "a.tif", "pages.tif", "packed.tif", "a.npy", "a.npz", "a.h5", "a.dcm"]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("part", [0.03, 0.2, 0.5, 0.97])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, part: float) -> None:
    path = make(tmp_path / name)
    assert files.read(path).array.size
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(FileError, match=r"(?s)truncated|not a .* file") as caught:
        files.read(path)
    assert name in str(caught.value)
    assert "again" in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_and_a_foreign_file_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(FileError, match=f"{name} is empty"):
        files.read(path)
    path.write_bytes(RNG.bytes(4096))
    with pytest.raises(FileError, match=f"{name} is not a .* file although"):
        files.read(path)


def test_a_foreign_file_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(make(tmp_path / "a.tif").read_bytes())
    with pytest.raises(FileError, match=r"a\.png is not a PNG.*those of a TIFF file"):
        files.read(tmp_path / "a.png")


def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="damaged"):
        files.read(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(FileError, match="allow_pickle"):
            files.read(tmp_path / name)
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(FileError, match="expected numbers"):
        files.read(tmp_path / "text.npy")


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    make(tmp_path / "image.png")
    with pytest.raises(FileError, match=r"imag\.png does not exist.*Did you mean 'image\.png'"):
        files.read(tmp_path / "imag.png")
    (tmp_path / "a.tfi").write_bytes(b"abc")
    with pytest.raises(FileError, match=r"'\.tfi' is unknown.*Did you mean '\.tif'"):
        files.read(tmp_path / "a.tfi")
    with pytest.raises(FileError, match=r"'\.jpg' cannot be written"):
        files.write(tmp_path / "a.jpg", GREY8)
    with pytest.raises(FileError, match="without DICOM files"):
        files.read(tmp_path)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_deep_colour_png_is_refused_rather_than_halved(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + RNG.bytes(4 * 3 * 2) for _ in range(3))
    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(FileError, match="16-bit colour"):
        files.read(tmp_path / "a.png")


def test_transparency_is_dropped_where_opaque_and_refused_elsewhere(tmp_path: Path) -> None:
    alpha = np.full((40, 30, 1), 255, np.uint8)
    files.write(tmp_path / "a.png", np.concatenate([COLOUR, alpha], -1))
    np.testing.assert_array_equal(files.read(tmp_path / "a.png").array, COLOUR)
    alpha[0] = 0
    files.write(tmp_path / "a.png", np.concatenate([COLOUR, alpha], -1))
    with pytest.raises(FileError, match="transparent"):
        files.read(tmp_path / "a.png")


# --- several arrays in a file -----------------------------------------------------------------------------------------


def test_hdf5_names_its_datasets(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = GREY16
        file["exchange/dark"] = GREY8
        file["exchange/data"].attrs["spacing"] = 0.5
        file["exchange/exposure"] = 3.0
        file["note"] = "text"
    with pytest.raises(FileError, match=r"2 datasets: /exchange/dark \(40, 30\) uint8, /exchange/data") as caught:
        files.read(path)
    assert "scan.h5:/exchange/dark" in str(caught.value)
    for chosen in (files.read(path, dataset="exchange/data"), files.read(f"{path}:/exchange/data")):
        np.testing.assert_array_equal(chosen.array, GREY16)
        assert chosen.metadata == {"spacing": 0.5}
    with pytest.raises(FileError, match=r"Did you mean '/exchange/data'"):
        files.read(path, dataset="/exchange/dat")
    with pytest.raises(FileError, match="Leave one out"):
        files.read(f"{path}:/exchange/data", dataset="/exchange/dark")
    with pytest.raises(FileError, match="no dataset '/exchange'"):
        files.read(f"{path}:/exchange")


def test_hdf5_keeps_its_other_datasets(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    files.write(f"{path}:/raw", GREY16)
    files.write(f"{path}:/x/image", FLOATS, like=files.Measurement(FLOATS, {"spacing": (1.0, 2.0), "skip": None}))
    files.write(f"{path}:/x/image", 2 * FLOATS, like=files.read(f"{path}:/x/image"))
    np.testing.assert_array_equal(files.read(f"{path}:/raw").array, GREY16)
    again = files.read(f"{path}:/x/image")
    np.testing.assert_array_equal(again.array, 2 * FLOATS)
    assert again.metadata == {"spacing": [1.0, 2.0]}
    path.write_bytes(b"not hdf5")
    with pytest.raises(FileError, match="is not a HDF5 file"):
        files.write(path, FLOATS)
    assert path.read_bytes() == b"not hdf5"


def test_npz_names_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=FLOATS, second=GREY8)
    with pytest.raises(FileError, match="2 arrays: first, second"):
        files.read(tmp_path / "a.npz")
    np.testing.assert_array_equal(files.read(tmp_path / "a.npz", dataset="second").array, GREY8)
    with pytest.raises(FileError, match="Did you mean 'second'"):
        files.read(tmp_path / "a.npz", dataset="secnd")
    np.save(tmp_path / "a.npy", GREY8)
    with pytest.raises(FileError, match="Leave dataset out"):
        files.read(tmp_path / "a.npy", dataset="x")


def test_tiff_series_are_chosen_by_number(tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY16)
        file.write(GREY8[:5])
    with pytest.raises(FileError, match=r"several images: 0 \(40, 30\) uint16, 1 \(5, 30\) uint8"):
        files.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(files.read(tmp_path / "a.tif", dataset="1").array, GREY8[:5])
    with pytest.raises(FileError, match="no image '2'"):
        files.read(tmp_path / "a.tif", dataset="2")


# --- DICOM ------------------------------------------------------------------------------------------------------------


def test_dicom_comes_in_hounsfield_units(tmp_path: Path) -> None:
    import pydicom

    header = pydicom.dcmread(ct_slice())
    ct = files.read(ct_slice())
    assert ct.array.dtype == np.float32
    np.testing.assert_array_equal(ct.array, header.pixel_array * 1.0 + float(header.RescaleIntercept))
    assert ct.metadata["spacing"] == pytest.approx((0.661468, 0.661468))
    assert (ct.metadata["modality"], ct.metadata["unit"]) == ("CT", "HU")
    assert not any("CompressedSamples" in str(value) for value in ct.metadata.values()), "the patient's name leaked"
    bare = tmp_path / "IM0001"
    bare.write_bytes(ct_slice().read_bytes())
    np.testing.assert_array_equal(files.read(bare).array, ct.array)


def write_slice(path: Path, z: float, uid: str = "1.2.3") -> None:
    import pydicom

    header = pydicom.dcmread(ct_slice())
    header.SeriesInstanceUID = uid
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.ImagePositionPatient = [0, 0, z]
    header.RescaleIntercept = z
    header.save_as(path)


def test_dicom_slices_become_a_volume_in_order(tmp_path: Path) -> None:
    for name, z in [("a.dcm", 20.0), ("b.dcm", -10.0), ("c.dcm", 5.0)]:
        write_slice(tmp_path / name, z)
    (tmp_path / "notes.txt").write_text("not a slice")
    volume = files.read(tmp_path)
    assert volume.array.shape == (3, 128, 128)
    np.testing.assert_array_equal(volume.array[1:, 0, 0] - volume.array[0, 0, 0], [15, 30])
    assert volume.metadata["slice_positions"] == (-10.0, 5.0, 20.0)
    assert volume.metadata["spacing"][0] == 15.0
    write_slice(tmp_path / "d.dcm", 20.0)
    with pytest.raises(FileError, match="several slices lie at one position"):
        files.read(tmp_path)
    write_slice(tmp_path / "d.dcm", 20.0, uid="9.9")
    with pytest.raises(FileError, match=r"2 DICOM series: 1\.2\.3 \(3 files\), 9\.9 \(1 files\)"):
        files.read(tmp_path)
    assert files.read(tmp_path, dataset="9.9").array.shape == (1, 128, 128)


def test_dicom_without_pixels_is_refused() -> None:
    data = pytest.importorskip("pydicom.data")
    with pytest.raises(FileError, match=r"RTPLAN\) holds no pixels"):
        files.read(data.get_testdata_file("rtplan.dcm"))
    with pytest.raises(FileError, match="truncated"):
        files.read(data.get_testdata_file("MR_truncated.dcm"))


# --- whole or not at all ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.npz", "a.h5"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    path = tmp_path / name
    files.write(path, GREY16)
    before = path.read_bytes()

    def interrupted(source: object, target: object) -> None:
        assert Path(str(source)).stat().st_size > 100, "the temporary file holds the new image already"
        raise error("stop")

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(FileError if error is OSError else error):
        files.write(path, GREY16[::-1])
    assert os.listdir(tmp_path) == [name]
    assert path.read_bytes() == before


def test_an_encoder_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, *args: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(files.npy, "write", half)
    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "a.npy", GREY8)
    assert not os.listdir(tmp_path)


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"directory .*absent does not exist"):
        files.write(tmp_path / "absent" / "a.npy", GREY8)
    (tmp_path / "dir.npy").mkdir()
    with pytest.raises(FileError, match="not a regular file"):
        files.write(tmp_path / "dir.npy", GREY8)
    files.write(tmp_path / "a.npy", GREY8)
    with pytest.raises(FileError, match="overwrite is False"):
        files.write(tmp_path / "a.npy", GREY8, overwrite=False)


def test_no_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FileError, match="no permission"):
        files.write(tmp_path / "a.npy", GREY8)


def test_a_link_and_the_permissions_survive(tmp_path: Path) -> None:
    real = tmp_path / "real.npy"
    files.write(real, GREY8)
    real.chmod(0o640)
    (tmp_path / "link.npy").symlink_to(real)
    files.write(tmp_path / "link.npy", GREY16)
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(files.read(real).array, GREY16)
    assert real.stat().st_mode & 0o777 == 0o640


def test_the_output_is_not_an_input(tmp_path: Path) -> None:
    make(tmp_path / "a.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    os.link(tmp_path / "a.tif", tmp_path / "c.tif")
    for name in ("a.tif", "b.tif", "c.tif"):
        with pytest.raises(FileError, match="is also an input"):
            files.check_output(tmp_path / name, (tmp_path / "a.tif",))
    files.check_output(tmp_path / "d.tif", (tmp_path / "a.tif",))
    with pytest.raises(FileError, match="is also an input"):
        files.check_output(f"{tmp_path}/x.h5:/b", (f"{tmp_path}/x.h5:/a",))
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "b.tif", "c.tif"]
