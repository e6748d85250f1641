"""How well the uncertainty of each pixel is calibrated: ``python -m benchmarks.uncertainty``.

For Gaussian errors 68 % of the pixels lie within the uncertainty and 95 % within twice that. The ratio is that of the
root mean square uncertainty and error; the correlation is that of their maps, the errors averaged over a few pixels.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.ndimage import gaussian_filter

from recon import reconstruct
from recon.bench import problems
from recon.uncertainty import coverage

SMOOTH = 2.0
LINE = "{:.2f} {:.2f}   {:.2f}   {:.2f}"


def main() -> None:
    families = {
        problems.deblur: 0.01, problems.denoise: 0.1, problems.inpaint: 0.02, problems.superresolve: 0.01,
        problems.ct_sparse: 0.01, problems.mri_tv: 0.02,
    }  # fmt: skip
    rows = []
    print(f"{'problem':24s} within 1, 2   ratio  correlation")
    for make, level in families.items():
        for name in ("camera", "astronaut"):
            problem = make(name, level, 256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image, info = reconstruct(problem.y, problem.operator, uncertainty=True, return_info=True)
            found = coverage(problem.truth, image, info.uncertainty)
            error = np.sqrt(gaussian_filter(np.abs(image - problem.truth) ** 2, SMOOTH))
            rows.append((*found, np.corrcoef(error.ravel(), info.uncertainty.ravel())[0, 1]))
            print(f"{problem.name + ' ' + name:24s} {LINE.format(*rows[-1])}", flush=True)
    print(f"{'mean':24s} {LINE.format(*np.mean(rows, axis=0))}")


if __name__ == "__main__":
    main()
