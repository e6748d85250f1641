"""Print the figures of nonlinear measurements that must hold: ``python -m benchmarks.nonlinear [section ...]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import blind, correction, derivatives, joint_coils, phase, responses

SECTIONS = {
    "derivatives": ("Derivatives of every kind of operator", derivatives.main),
    "counts": ("Low-dose transmission tomography, at the best weights", responses.low_dose),
    "relaxation": ("T2 maps, voxel by voxel", responses.relaxation),
    "clipped": ("A fifth of the pixels clipped, nothing tuned", responses.clipped),
    "untuned": ("Strength chosen by itself, against the best", responses.untuned),
    "phase": ("Phase retrieval", phase.main),
    "coils": ("Coil sensitivities, known and estimated with the image", joint_coils.main),
    "correction": ("Image correction, parameters known and estimated", correction.main),
    "blind": ("Blind deconvolution", blind.main),
}


def main(arguments: Sequence[str] = ()) -> None:
    unknown = sorted(set(arguments) - set(SECTIONS))
    if unknown:
        raise SystemExit(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name, (title, section) in SECTIONS.items():
        if not arguments or name in arguments:
            print(f"\n== {title}", flush=True)
            section()


if __name__ == "__main__":
    main(sys.argv[1:])
