"""Derivatives of every nonlinear operator, the largest figure of each kind: ``python -m benchmarks.derivatives``.

The battery of :func:`recon.check_operator` on the operators of the tests: both products of the derivative against each
other in single and double precision, against central differences, the order of the Taylor remainder, tensors against
arrays in both precisions, automatic differentiation against the adjoint of the derivative.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from recon import check_operator
from recon._figures import Figure, Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from operators_list import NONLINEAR

SINGLE, DOUBLE = ("float32", "complex64"), ("float64", "complex128")
COLUMNS = {  # heading -> beginning of the figures' names, and their precisions
    "products single": ("jvp and vjp", SINGLE),
    "products double": ("jvp and vjp", DOUBLE),
    "difference": ("vjp, ", DOUBLE),
    "order under 2": ("order of the Taylor remainder", DOUBLE),
    "torch single": ("torch", SINGLE),
    "torch double": ("torch", DOUBLE),
    "autograd": ("gradient", DOUBLE),
}


def figures_of(report: Report, beginning: str, precisions: tuple[str, ...]) -> list[Figure]:
    return [f for f in report.figures if f.name.startswith(beginning) and f.name.endswith(precisions)]


def main(arguments: Sequence[str] = ()) -> None:
    failed, limits = 0, dict.fromkeys(COLUMNS, 0.0)
    print(f"{'operator':30}", *(f"{heading:>15}" for heading in COLUMNS))
    for name, build in NONLINEAR.items():
        report, cells = check_operator(build(), raise_errors=False), []
        for heading, kind in COLUMNS.items():
            figures = figures_of(report, *kind)
            limits[heading] = max([limits[heading], *(figure.limit for figure in figures)])
            cells.append(f"{max(figure.value for figure in figures):15.1e}" if figures else f"{'-':>15}")
        print(f"{name:30}", *cells, "" if report.ok else "FAILS", flush=True)
        failed += not report.ok
    print(f"{'limits':30}", *(f"{limit:15.0e}" for limit in limits.values()))
    print(f"{len(NONLINEAR) - failed} of {len(NONLINEAR)} operators within all limits (all of them)")


if __name__ == "__main__":
    main()
