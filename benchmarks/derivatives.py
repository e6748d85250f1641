"""Derivatives of the nonlinear operators, each figure beside its limit: ``python -m benchmarks.derivatives``.

The battery of :func:`recon.check_operator`: both products of the derivative against each other, against differences and
to a Taylor remainder of second order; arrays against tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon import check_operator, psf
from recon import operators as ops

SHAPE = (6, 7)


def operators() -> dict[str, Any]:
    """One of each kind, and a composition."""
    mask = np.random.default_rng(0).random(SHAPE) < 0.6
    return {
        "camera response": ops.CameraResponse(SHAPE, 2.2),
        "response by a polynomial": ops.CameraResponse(SHAPE, [0.2, 0.3, 0.5]),
        "saturation": ops.Saturation(SHAPE, 1.0),
        "saturation behind a blur": ops.Saturation(SHAPE, 1.0) @ ops.Blur(psf.gaussian(0.5), SHAPE),
        "clipping": ops.Clipping(SHAPE, -0.4, 0.8),
        "exposures": ops.Exposures(SHAPE, [1.0, 2.5]),
        "logarithm": ops.Logarithm(SHAPE),
        "transmission": ops.Transmission(ops.ParallelBeam((6, 6), 5), 1e3),
        "relaxometry": ops.Relaxometry([10.0, 20.0, 50.0], SHAPE),
        "coded diffraction": ops.CodedDiffraction(2, SHAPE),
        "Fourier magnitude": ops.FourierMagnitude(SHAPE),
        "ptychography": ops.Ptychography(np.ones((4, 4)), [(0, 0), (0, 3), (2, 0), (2, 3)], SHAPE),
        "MRI with its coils": ops.JointMRI(mask, 2),
    }


def main(arguments: Sequence[str] = ()) -> None:
    for name, operator in operators().items():
        report = check_operator(operator, raise_errors=False)
        figures = [figure for figure in report.figures if figure.limit > 0]
        nearest = max(figures, key=lambda figure: figure.value / figure.limit)
        print(
            f"{name:26s} {len(figures)} figures, {'all within their limits' if report.ok else 'FAILS'}; nearest: "
            f"{nearest.name} {nearest.value:.1e} (at most {nearest.limit:.1e})",
            flush=True,
        )


if __name__ == "__main__":
    main()
