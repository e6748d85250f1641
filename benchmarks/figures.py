"""Print every figure that must hold: ``python -m benchmarks.figures`` (peers are compared where they are installed)."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import adjoints, cone, convolution, fan, growth, memory, noncartesian, peers, projector, strength, tv

LIGHT = """
import sys, time
start = time.perf_counter()
import recon
spent = 1e3 * (time.perf_counter() - start)
print(f"import recon: {spent:.0f} ms; torch loaded: {'torch' in sys.modules}; numba loaded: {'numba' in sys.modules}")
"""


def main() -> None:
    sections = {
        "Operators: adjoint, torch body, gradient": adjoints.main,
        "Operators: peak memory": memory.main,
        "Projector": projector.main,
        "Cone beam": cone.main,
        "Fan-beam projector": fan.main,
        "Growth of the projectors": growth.main,
        "Non-Cartesian normal operator": noncartesian.main,
        "Convolution": convolution.main,
        "Proximal map of total variation": tv.main,
        "Beside other libraries": peers.main,
        "Strength chosen by itself": strength.main,
    }
    for title, section in sections.items():
        print(f"\n== {title}", flush=True)
        section()
    print("\n== Import", flush=True)
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


if __name__ == "__main__":
    main()
