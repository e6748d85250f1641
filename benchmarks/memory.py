"""Print the peak memory of every operator: ``python -m benchmarks.memory [name ...]``.

Each operator is built in a process of its own, applied once (compilation, plans), and then measured: what forward,
adjoint and normal operator allocate at the peak, result included and argument apart, over the larger of image and
measurement. ``numpy`` counts the arrays (tracemalloc), ``process`` all of the resident memory, libraries' own buffers
included. Exits with 1 where an array peak is beyond the limit.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LIMIT = 4.0
STATUS, PEAK = "/proc/self/status", "VmHWM:"


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


def _operators() -> dict[str, Callable[[], Any]]:
    from scipy import sparse

    from recon import operators as ops

    n, psf = 1024, _random(15, 15)
    gaussian = np.outer(*[np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)] * 2)
    mask = _random(n, n) < 0.3
    coils = _random(8, 256, 256) + 1j * _random(8, 256, 256)
    turns = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    fan = {"source_distance": 1500.0, "detector_distance": 500.0}
    spokes = np.linspace(-127.0, 127.0, 512)[:, None] * np.stack([np.sin(turns), np.cos(turns)], -1)[:200, None]
    return {
        "Identity": lambda: ops.Identity((n, n)),
        "Mask": lambda: ops.Mask(mask),
        "Diagonal": lambda: ops.Diagonal(_random(n, n)),
        "FrequencyResponse": lambda: ops.FrequencyResponse(lambda fy, fx: 1 / (1 + fy**2 + fx**2), (n, n)),
        "FrequencyResponse, complex": lambda: ops.FrequencyResponse(_random(n, n)),
        "Reshape": lambda: ops.Reshape((n, n), (n * n,)),
        "Permute": lambda: ops.Permute((1, 2, 0), (n, n, 4)),
        "Restriction": lambda: ops.Restriction(np.flatnonzero(mask), (n, n)),
        "Restriction of an axis": lambda: ops.Restriction(np.arange(0, n, 3), (n, n), axis=0),
        "stack": lambda: ops.stack([ops.Mask(mask), ops.Blur(psf, (n, n))]),
        "block_diagonal": lambda: ops.block_diagonal([ops.Mask(mask), ops.Blur(psf, (n, n))]),
        "product": lambda: ops.Mask(mask) @ ops.Blur(psf, (n, n)),
        "sum": lambda: ops.Identity((n, n)) - ops.Blur(psf, (n, n)),
        "FiniteDifference": lambda: ops.FiniteDifference((n, n)),
        "Blur": lambda: ops.Blur(psf, (n, n)),
        "Blur, 61 x 61": lambda: ops.Blur(_random(61, 61), (n, n)),
        "Blur, separable": lambda: ops.Blur(gaussian, (n, n)),
        "Blur, unknown boundary": lambda: ops.Blur(psf, (n, n), boundary="unknown"),
        "Blur, reflecting boundary": lambda: ops.Blur(psf, (n, n), boundary="reflecting"),
        "Blur, reflecting, symmetric": lambda: ops.Blur(gaussian, (n, n), boundary="reflecting", method="fft"),
        "Blur, direct": lambda: ops.Blur(psf[:5, :5], (n, n), method="direct"),
        "Blur, direct, reflecting": lambda: ops.Blur(psf[:5, :5], (n, n), boundary="reflecting", method="direct"),
        "Blur, rows": lambda: ops.Blur(_random(31, 31), (n, n), boundary="unknown", method="rows"),
        "Blur, separable, 3-D": lambda: ops.Blur(np.ones((5, 5, 5)), (96, 96, 96), method="separable"),
        "Blur, 3-D": lambda: ops.Blur(_random(7, 7, 7), (96, 96, 96)),
        "Downsample": lambda: ops.Downsample(4, (n, n)),
        "Downsample, bicubic": lambda: ops.Downsample(3, (1023, 1023), psf="bicubic"),
        "Resample": lambda: ops.Resample((n, n), (300, 700)),
        "Shift": lambda: ops.Shift((n, n), (0.5, -1.3)),
        "MultiFrame": lambda: ops.MultiFrame(4 * _random(8, 2), 4, (n, n)),
        "VaryingBlur": lambda: ops.VaryingBlur(_random(2, 2, 15, 15), (n, n)),
        "VaryingBlur, reflecting": lambda: ops.VaryingBlur(_random(2, 2, 15, 15), (n, n), boundary="reflecting"),
        "Bayer": lambda: ops.Bayer((n, n)),
        "CartesianMRI": lambda: ops.CartesianMRI(mask),
        "CartesianMRI, 8 coils": lambda: ops.CartesianMRI(mask[:256, :256], coils),
        "NonCartesianMRI": lambda: ops.NonCartesianMRI(spokes, (256, 256)),
        "NonCartesianMRI, 8 coils": lambda: ops.NonCartesianMRI(spokes, (256, 256), coils),
        "DynamicMRI": lambda: ops.DynamicMRI(_random(16, 256, 256) < 0.3),
        "DynamicMRI, 8 coils": lambda: ops.DynamicMRI(_random(16, 256, 256) < 0.3, coils),
        "DynamicNonCartesianMRI": lambda: ops.DynamicNonCartesianMRI(spokes.reshape(8, 25, 512, 2), (256, 256)),
        "RadioInterferometry": lambda: ops.RadioInterferometry(1e4 * _random(100_000, 2), (256, 256), pixel=1e-5),
        "RealImage": lambda: ops.RealImage((n, n)),
        "Destripe": lambda: ops.Destripe((n, n)),
        "ParallelBeam": lambda: ops.ParallelBeam((512, 512), 360),
        "FourierSlice": lambda: ops.FourierSlice(ops.ParallelBeam((512, 512), 360)),
        "FanBeam": lambda: ops.FanBeam((512, 512), turns, **fan),
        "ConeBeam": lambda: ops.ConeBeam((96, 96, 96), turns[::4], **fan),
        "ParallelBeam3D": lambda: ops.ParallelBeam3D((64, 96, 96), 90),
        "ParallelBeam3D, tilted": lambda: ops.ParallelBeam3D((64, 96, 96), turns[::4], tilt=0.3),
        "Pansharpening": lambda: ops.Pansharpening((4, 512, 512), 4),
        "ColourMixing": lambda: ops.ColourMixing(_random(3, 3), (n, n)),
        "Vignetting": lambda: ops.Vignetting([-0.3, 0.1], (n, n)),
        "Illumination": lambda: ops.Illumination(_random(n, n), (n, n)),
        "SpectralMixing": lambda: ops.SpectralMixing(_random(60, 6), (256, 256)),
        "CodedAperture": lambda: ops.CodedAperture(mask[:256, :256], 16),
        "SinglePixel": lambda: ops.SinglePixel((512, 512)),
        "RandomProjection": lambda: ops.RandomProjection(1000, (64, 64)),
        "RandomProjection, Hadamard": lambda: ops.RandomProjection(20_000, (256, 256), kind="srht"),
        "RandomProjection, cosine": lambda: ops.RandomProjection(20_000, (256, 256), kind="cosine"),
        "from_matrix": lambda: ops.from_matrix(
            sparse.diags_array([1.0, 2.0, 1.0], offsets=[-1, 0, 1], shape=(2**18, 2**18)), in_shape=(512, 512)
        ),
    }


def measure(operator: Any) -> dict[str, tuple[float, float]]:
    """For each direction, the peak of the arrays and of the process over the larger side."""
    dtype = np.complex64 if operator.kind == "complex" else np.float32
    x = np.asarray(_random(*operator.in_shape), dtype=dtype)
    y = np.asarray(_random(*operator.out_shape), dtype=operator(x).dtype)  # some measure complex values of a real image
    side = max(x.nbytes, y.nbytes)
    calls = {"forward": (operator, x), "adjoint": (operator.adjoint, y), "gram": (operator.gram, x)}
    for function, argument in calls.values():
        function(argument)
    return {
        name: (_array_peak(function, argument) / side, _process_peak(function, argument) / side)
        for name, (function, argument) in calls.items()
    }


def _array_peak(function: Callable[[Any], Any], argument: np.ndarray) -> int:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    function(argument)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def _process_peak(function: Callable[[Any], Any], argument: np.ndarray) -> float:
    """Growth of the resident memory at its peak, in bytes; NaN where the system does not tell."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts anew
        before = _status("VmRSS:")
        function(argument)
        return _status(PEAK) - before
    except OSError:
        return math.nan


def _status(key: str) -> int:
    with open(STATUS) as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))


def _child(name: str) -> None:
    try:
        operator = _operators()[name]()
    except AttributeError as error:
        sys.exit(f"not there: {error}")
    print(json.dumps({"operator": repr(operator), "peaks": measure(operator)}))


def main(names: Sequence[str] = ()) -> int:
    """Print the table; returns the number of operators beyond the limit."""
    # Freed blocks go back to the system at once, so that the peak of one call is that of this call.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    directions = ("forward", "adjoint", "gram")
    print(f"{'peak over the larger side':32}", *(f"{d + ' numpy':>14}{'process':>9}" for d in directions))
    beyond = 0
    for name in names or _operators():
        command = [sys.executable, "-m", "benchmarks.memory", "--measure", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:32} {done.stderr.strip().splitlines()[-1]}")
            continue
        peaks = json.loads(done.stdout)["peaks"]
        failed = round(max(peaks[d][0] for d in directions), 1) > LIMIT
        beyond += failed
        print(
            f"{name:32}",
            *(f"{peaks[d][0]:14.2f}{peaks[d][1]:9.2f}" for d in directions),
            "BEYOND" if failed else "",
            flush=True,
        )
    print(f"limit {LIMIT:g} for the arrays; {beyond} beyond")
    return beyond


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _child(sys.argv[2])
    else:
        sys.exit(min(main(sys.argv[1:]), 1))
