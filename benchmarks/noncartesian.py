"""Normal operator of radial MRI beside SigPy's, in one run: ``python -m benchmarks.noncartesian``.

256 x 256 pixels, 8 coils, 200 spokes of 512 samples, complex64, on the CPU. Calls take turns and the shortest of
several counts; compare ratios, not milliseconds. The error is that of ``A^H A x`` against transforms to 12 digits.
Without SigPy only our own figures are printed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.projector import print_verdict, shortest
from recon.operators import CartesianMRI, NonCartesianMRI
from recon.sampling import variable_density_lines
from recon.trajectories import radial
from solvers.arrays import threads

SIZE, COILS, SPOKES, SAMPLES = 256, 8, 200, 512
LIMIT = 3.0  # times SigPy's normal operator as it comes, at least


def sensitivities(count: int = COILS, size: int = SIZE) -> np.ndarray:
    """Smooth coils around the image."""
    y, x = (np.mgrid[:size, :size] - size / 2) / (size / 2)
    turn = 2 * np.pi * np.arange(count).reshape(-1, 1, 1) / count
    return np.exp(-((y - np.sin(turn)) ** 2) - (x - np.cos(turn)) ** 2 + 1j * turn).astype(np.complex64)


def sigpy_normals(trajectory: np.ndarray, coils: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """SigPy's normal operator: by the transform and its adjoint, as it comes, and by its Toeplitz kernel."""
    import sigpy

    coordinates = trajectory.astype(np.float32)
    sense = sigpy.linop.Multiply(coils.shape[1:], coils)
    plain = (sigpy.linop.NUFFT(coils.shape, coordinates) * sense).N
    toeplitz = sense.H * sigpy.linop.NUFFT(coils.shape, coordinates, toeplitz=True).N * sense
    return {"SigPy": lambda x: plain * x, "SigPy, toeplitz=True": lambda x: toeplitz * x}


def main() -> None:
    """Print the table."""
    trajectory, coils = radial(SPOKES, SAMPLES), sensitivities()
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((SIZE, SIZE)) + 1j * rng.standard_normal((SIZE, SIZE))).astype(np.complex64)
    A = NonCartesianMRI(trajectory, (SIZE, SIZE), coils)
    exact = NonCartesianMRI(trajectory, (SIZE, SIZE), coils, eps=1e-12)
    truth = exact.adjoint(exact(x.astype(np.complex128)))

    normals: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "recon, gram": A.gram,
        "recon, adjoint(forward)": lambda x: A.adjoint(A(x)),
    }
    if importlib.util.find_spec("sigpy"):
        normals.update(sigpy_normals(trajectory, coils))
    seconds = shortest([(lambda normal=normal: normal(x), 9) for normal in normals.values()])
    print(f"{SIZE} x {SIZE}, {COILS} coils, {SPOKES} spokes x {SAMPLES} samples, complex64, {threads()} threads")
    print(f"{'normal operator':26s} {'time':>10s} {'times recon':>12s} {'error':>9s}")
    for (name, normal), s in zip(normals.items(), seconds, strict=True):
        print(f"{name:26s} {1e3 * s:7.1f} ms {s / seconds[0]:12.1f} {_error(normal(x), truth):9.1e}")
    if "SigPy" in normals:
        print_verdict("gram, times SigPy", seconds[list(normals).index("SigPy")] / seconds[0], LIMIT)
    for name, milliseconds in more(A, x):
        print(f"recon, {name}: {milliseconds:.1f} ms")


def _error(image: np.ndarray, truth: np.ndarray) -> float:
    # SigPy's normal operator is that of a transform with another scale.
    scale = np.vdot(image, truth) / np.vdot(image, image)
    return float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))


def more(A: Any, x: np.ndarray) -> list[tuple[str, float]]:
    """Milliseconds of our other calls."""
    y = A(x)
    lines = np.repeat(variable_density_lines(SIZE, 4, rng=0)[:, None], SIZE, axis=1)
    points = np.random.default_rng(0).random((SIZE, SIZE)) < 0.25
    cartesian = {name: CartesianMRI(mask, A.coils) for name, mask in (("lines", lines), ("points", points))}
    calls: dict[str, Callable[[], Any]] = {
        "forward": lambda: A(x),
        "adjoint": lambda: A.adjoint(y),
        "gram, first call": lambda: NonCartesianMRI(A.trajectory, A.in_shape, A.coils).gram(x),
        "certified norm": lambda: NonCartesianMRI(A.trajectory, A.in_shape, A.coils).norm(),
        **{f"Cartesian gram, {name}": lambda B=B: B.gram(x) for name, B in cartesian.items()},
        **{f"Cartesian adjoint(forward), {name}": lambda B=B: B.adjoint(B(x)) for name, B in cartesian.items()},
    }
    seconds = shortest([(call, 3) for call in calls.values()])
    return [(name, 1e3 * s) for name, s in zip(calls, seconds, strict=True)]


if __name__ == "__main__":
    main()
