"""Print how exact every operator is: ``python -m benchmarks.adjoints``.

Adjoint error ``|<A x, y> - <x, A^H y>| / (|A x| |y|)`` with random probes, complex where the operator is, accumulated
in double precision; largest relative difference of the numpy and torch bodies; error of the gradient through autograd;
the norm bound over the largest singular value. Exits with 1 if a figure is beyond its limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recon import check_operator
from recon._figures import Report
from recon.operators import Blur, CartesianMRI, Downsample, FanBeam, FiniteDifference, Mask, ParallelBeam

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from operators_list import OPERATORS

RNG = np.random.default_rng(0)


def _coils(count: int, shape: tuple[int, int]) -> np.ndarray:
    return RNG.standard_normal((count, *shape)) + 1j * RNG.standard_normal((count, *shape))


FULL_SIZE: dict[str, Callable[[], Any]] = {
    "Mask 512 x 512": lambda: Mask(RNG.random((512, 512)) < 0.3),
    "Blur 512 x 512, psf 25 x 25": lambda: Blur(RNG.random((25, 25)), (512, 512)),
    "Blur 512 x 512, unknown boundary": lambda: Blur(RNG.random((25, 25)), (512, 512), boundary="unknown"),
    "Downsample 512 x 512 by 4": lambda: Downsample(4, (512, 512)),
    "ParallelBeam 256 x 256, 180 views": lambda: ParallelBeam((256, 256), 180),
    "FanBeam 256 x 256, 180 views": lambda: FanBeam(
        (256, 256), 180, source_distance=500.0, detector_distance=250.0, axis_offset=3.0
    ),
    "CartesianMRI 256 x 256, 8 coils": lambda: CartesianMRI(RNG.random((256, 256)) < 0.3, _coils(8, (256, 256))),
    "FiniteDifference 512 x 512": lambda: FiniteDifference((512, 512)),
}

COLUMNS = {  # heading -> beginnings of the figures it is the largest of
    "adjoint single": ("adjoint error, float32", "adjoint error, complex64"),
    "adjoint double": ("adjoint error, float64", "adjoint error, complex128"),
    "torch - numpy": ("torch forward", "torch adjoint"),
    "gradient": ("gradient of",),
    "norm over by": ("norm over",),
}


def row(report: Report) -> list[str]:
    """The largest figure of each column."""
    cells = []
    for beginnings in COLUMNS.values():
        values = [figure.value for figure in report.figures if figure.name.startswith(beginnings)]
        cells.append(f"{max(values):14.1e}" if values else f"{'-':>14}")
    return cells


def main() -> int:
    """Print the table; returns the number of operators that fail."""
    failed = 0
    print(f"{'operator':36}", *(f"{heading:>14}" for heading in COLUMNS))
    for name, build in {**OPERATORS, **FULL_SIZE}.items():
        report = check_operator(build(), raise_errors=False)
        print(f"{name:36}", *row(report), "" if report.ok else "FAILS", flush=True)
        failed += not report.ok
        for figure in report.failures:
            print(f"    {figure.name}: {figure.value:.2e} > {figure.limit:.2e}. {figure.remedy}")
    print(f"limits: {'':28} {1e-6:14.0e} {1e-12:14.0e} {2e-5:14.0e} {1e-12:14.0e} {0.02:14.0e}")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
