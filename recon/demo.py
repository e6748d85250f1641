"""Measurements turned into images, with nothing tuned: ``python -m recon.demo``.

A CT slice, a photograph and an MR slice that installed packages carry are measured by simulation, so that the truth is
known; where data of real instruments stand beside the project (``$RECON_DATA``), they follow. Each is reconstructed by
``reconstruct(y, A)`` and by a classical method. A table goes to the standard output, pictures to files.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from recon._demo_scene import Answer, Result, Scene, solve_scene
from solvers.errors import FileError, ReconError

PICTURES = ("recon-demo.png", "recon-demo-measured.png")
HEADER = f"{'':36}{'PSNR':>7}{'SSIM':>7}{'seconds':>9}   strength   how"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        run(options.output, simulated_only=options.simulated)
    except ReconError as error:
        print(f"recon.demo: {error}", file=sys.stderr)
        return 2
    return 0


def run(output: Path, *, simulated_only: bool = False) -> list[Result]:
    """Reconstruct every scene, print the table and write the pictures into the folder ``output``."""
    from recon import _demo_measured, files
    from recon._demo_simulated import simulated
    from recon.report import pyplot

    pyplot()  # a missing matplotlib is told before anything is computed
    place = None if simulated_only else _demo_measured.folder()
    _make_folder(output)
    for name in PICTURES:
        files.check_writable(output / name)
    begin = time.perf_counter()
    print(HEADER)
    results = show("Simulated, PSNR and SSIM against the truth", simulated(), output / PICTURES[0])
    if place is not None:
        results += show("Measured", _demo_measured.measured(place), output / PICTURES[1])
    print(f"\n{time.perf_counter() - begin:.0f} seconds in all; the first run also compiles.")
    return results


def show(heading: str, scenes: Iterable[Callable[[], Scene]], picture: Path) -> list[Result]:
    """Solve scenes, print their rows as they come, and draw them."""
    from recon._demo_picture import draw

    print(f"\n{heading}")
    results = []
    for make in scenes:
        results.append(solve_scene(make()))
        print(rows(results[-1]), flush=True)
    if results:
        draw(results, picture)
        print(f"  picture: {picture}")
    return results


def rows(result: Result) -> str:
    """The rows of the table that a scene takes."""
    plan, info = result.info.plan, result.info
    how = f"{plan.decisions['strength'].reason}, {info.iterations} last steps"
    lines = [
        f"  {result.scene.name}",
        _row(result.scene.baseline_name, result.classical),
        f"{_row('reconstruct(y, A)', result.ours)}   {plan.strength:<8.3g}   {how}",
    ]
    return "\n".join(lines + [f"    note: {text}" for text in info.warnings])


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"--output is {output}, which cannot be made: {error.strerror}. Name another.") from error


def _row(name: str, answer: Answer) -> str:
    psnr, ssim = ("-", "-") if answer.psnr is None else (f"{answer.psnr:.2f}", f"{answer.ssim:.3f}")
    return f"    {name:<32}{psnr:>7}{ssim:>7}{answer.seconds:>9.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recon.demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="folder of the pictures; here")
    parser.add_argument("--simulated", action="store_true", help="leave out the measured data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
