"""Image correction, parameters known and estimated: ``python -m benchmarks.correction [part ...]``.

Photographs of scikit-image and the first of CBSD68, 0.5 % noise. Limits stand beside the figures. What one photograph
alone tells about its lens, its light or its haze has no limit: the scene may have been darker in the corners.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import images
from benchmarks.problems import measure, psnr
from benchmarks.strength import oracle, solve
from recon import enhance, reconstruct
from recon import operators as ops

NOISE = 0.005
SIDE = 192
FRAMES = 20
TIMES = (0.4, 1.0, 2.5)
GAMMA = 2.2
EXPOSED = ("astronaut", "coffee", "chelsea")  # the photographs that are exposed several times
LENS = np.array([-0.45, 0.1, -0.1])
MATRIX = np.array([[0.8, 0.2, 0.05], [0.1, 0.9, 0.1], [0.02, 0.25, 0.7]])
MOVES = ((0, 0), (SIDE // 10, 0), (0, SIDE // 9), (-SIDE // 9, -SIDE // 11))


@dataclass(frozen=True)
class Correction:
    """A model with known parameters, the same with unknown ones, and what is measured through it."""

    name: str
    known: Any
    family: Any
    scene: np.ndarray
    references: tuple[np.ndarray, np.ndarray] | None = None  # a known image and its measurement, to fit by
    family_of_reference: Any = None
    clips: bool = False


def photographs(count: int = 6) -> Iterator[tuple[str, np.ndarray]]:
    """Colour photographs (3, rows, columns) of one size."""
    from skimage import data

    for name in ("astronaut", "coffee", "chelsea"):
        yield name, _cut(np.moveaxis(getattr(data, name)() / np.float32(255), -1, 0))
    for number, picture in enumerate(images("cbsd68", count=count)):
        yield f"cbsd68 {number}", _cut(picture)


def _cut(picture: np.ndarray) -> np.ndarray:
    top, left = ((n - SIDE) // 2 for n in picture.shape[1:])
    return np.ascontiguousarray(picture[:, top : top + SIDE, left : left + SIDE], dtype=np.float32)


def exposures(frames: int = FRAMES, spread: float = 0.15) -> np.ndarray:
    """Gains of mean 1."""
    gain = np.exp(spread * np.random.default_rng(1).standard_normal(frames))
    return gain / gain.mean()


def corrections(picture: np.ndarray) -> Iterator[Correction]:
    """The corrections of one photograph."""
    grey = picture.mean(0)
    moved = ops.stack([ops.Shift(grey.shape, shift) for shift in MOVES])
    yield Correction(
        "vignetting, 4 frames",
        ops.Vignetting(LENS, moved.out_shape) @ moved,
        ops.Vignetting(ops.Unknown(), moved.out_shape) @ moved,
        grey,
    )
    still = ops.stack([ops.Identity(grey.shape)] * FRAMES)
    yield Correction(
        "exposure, 20 frames",
        ops.Flicker(exposures(), still.out_shape) @ still,
        ops.Flicker(ops.Unknown(), still.out_shape) @ still,
        grey,
    )
    chart = np.random.default_rng(2).random((3, 4, 6))
    of_chart = ops.ColourMixing(MATRIX, chart.shape[1:])
    yield Correction(
        "colour mixing, chart",
        ops.ColourMixing(MATRIX, grey.shape),
        ops.ColourMixing(ops.Unknown(shape=(3, 3)), grey.shape),
        picture,
        (chart, _patches(of_chart(chart))),
        ops.ColourMixing(ops.Unknown(shape=(3, 3)), chart.shape[1:]),
    )


def responses(picture: np.ndarray) -> Iterator[Correction]:
    """A gamma, and another told by a polynomial: three exposures of one photograph, clipped."""
    light = picture.mean(0)
    series = ops.stack([t * ops.Identity(light.shape) for t in TIMES])

    def clipped(curve: Any) -> Any:
        return ops.Clipping(series.out_shape, 0, 1) @ (ops.CameraResponse(series.out_shape, curve) @ series)

    yield Correction("gamma, 3 exposures", clipped(GAMMA), clipped(ops.Unknown()), light, clips=True)
    yield Correction("sRGB by a polynomial", clipped("srgb"), clipped(ops.Unknown(shape=(4,))), light, clips=True)


def _patches(clean: np.ndarray, pixels: int = 100) -> np.ndarray:
    """Averages of the pixels of each patch of a chart."""
    noise = np.random.default_rng(3).standard_normal((pixels, *clean.shape))
    return clean + NOISE * noise.mean(0)


def noisy(clean: np.ndarray, seed: int = 0) -> np.ndarray:
    return clean + np.float32(NOISE) * np.random.default_rng(seed).standard_normal(clean.shape, dtype=np.float32)


def measured(case: Correction) -> np.ndarray:
    """Noise comes before the end of a sensor's range."""
    if not case.clips:
        return noisy(case.known(case.scene))
    sensor, before = case.known.parts
    return np.asarray(sensor(noisy(before(case.scene))))


def known_and_estimated() -> None:
    """PSNR with the parameters known, and estimated."""
    print(f"{'PSNR in dB':34s} {'known':>7s} {'estimated':>10s}")
    known: dict[str, list[float]] = {}
    lost: dict[str, list[float]] = {}
    for name, picture in photographs():
        grey = picture.mean(0)
        for kind, model in (("vignetting", ops.Vignetting(LENS, grey.shape)), *_gammas(grey.shape)):
            known.setdefault(kind, []).append(_report(name, kind, psnr(grey, reconstruct(noisy(model(grey)), model))))
        for case in (*corrections(picture), *(responses(picture) if name in EXPOSED else ())):
            y = measured(case)
            reached = psnr(case.scene, reconstruct(y, case.known))
            if case.references is None:
                image = reconstruct(y, case.family)
            else:
                image = reconstruct(y, case.family.with_values(**case.family_of_reference.fit(*case.references)))
            found = psnr(case.scene, image)
            _report(name, case.name, reached, found)
            known.setdefault(case.name, []).append(reached)
            lost.setdefault(case.name, []).append(reached - found)
    for kind, values in known.items():
        print(f"{kind:34s} known: least {min(values):.1f} dB (at least 40)", end="")
        print(f"; estimated: loses at most {max(lost[kind]):.2f} dB (at most 3)" if kind in lost else "")


def _gammas(shape: tuple[int, ...]) -> tuple[Any, ...]:
    return (("gamma", ops.CameraResponse(shape, 2.2)),) if hasattr(ops, "CameraResponse") else ()


def _report(name: str, kind: str, known: float, found: float | None = None) -> float:
    print(f"{name:12s} {kind:21s} {known:7.2f} " + ("" if found is None else f"{found:10.2f}"), flush=True)
    return known


def flicker() -> None:
    """Standard deviation of the exposure before and after, of a still scene and of a pan."""
    from skimage import data

    gain, big = exposures(), data.camera() / np.float32(255)
    offset = 0.03 * np.random.default_rng(4).standard_normal(FRAMES)
    still = np.stack([big[::2, ::2]] * FRAMES)
    pan = np.stack([big[100 + 3 * k : 340 + 3 * k : 2, 60 + 4 * k : 360 + 4 * k : 2] for k in range(FRAMES)])
    for name, series in (("still scene", still), ("pan", pan)):
        for kind, level, unknown in (("gain", 0.0, 0.0), ("gain and offset", offset, ops.Unknown())):
            y = noisy(ops.Flicker(gain, series.shape, level)(series))
            found = ops.Flicker(ops.Unknown(), series.shape, unknown).estimated(y)
            left = found["gain"] / gain
            print(
                f"flicker, {name}, {kind}: {gain.std():.3f} -> {left.std():.5f}, "
                f"{gain.std() / left.std():.0f} times less (at least 20)",
                flush=True,
            )


def one_photograph() -> None:
    """What one photograph tells: median over CBSD68, no limit."""
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    for picture in images("cbsd68", count=12):
        shape = picture.shape[1:]
        depth = np.linspace(1.5, 0.3, shape[0])[:, None] * np.ones(shape)
        models = {
            "vignetting": ops.Vignetting(LENS, shape),
            "white-balance": ops.ColourMixing([0.8, 1.0, 1.3], shape),
            "dehaze": ops.Haze(np.exp(-depth), [0.8, 0.83, 0.88], picture.shape),
        }
        for method, model in models.items():
            y = noisy(model(picture))
            before.setdefault(method, []).append(psnr(picture, y))
            after.setdefault(method, []).append(psnr(picture, enhance(np.clip(y, 0, 1), method, channel_axis=0)))
    for method in after:
        was, is_now = np.median(before[method]), np.median(after[method])
        print(f"one photograph, {method}: {was:.1f} -> {is_now:.1f} dB (median of {len(after[method])})", flush=True)


def assumed_gamma() -> None:
    """What an assumed gamma costs where the true one is another: one photograph does not tell it."""
    for true in (1.8, 2.0, 2.4):
        left = []
        for picture in images("cbsd68", count=12):
            y = noisy(ops.CameraResponse(picture.shape, true)(picture))
            left.append(psnr(picture, ops.CameraResponse(picture.shape, GAMMA).inverse(np.clip(y, 0, 1))))
        print(f"one photograph, gamma {true} taken for {GAMMA}: {np.median(left):.1f} dB (median of {len(left)})")


def one_lens(count: int = 20) -> None:
    """What many photographs through one lens tell, each of another scene: the guess, no limit."""
    pictures = [p if p.shape[1] < p.shape[2] else np.rot90(p, axes=(1, 2)) for p in images("cbsd68", count=count)]
    shape = pictures[0].shape[1:]
    model, family = ops.Vignetting(LENS, shape), ops.Vignetting(ops.Unknown(), shape)
    found = family.with_values(**family.estimated(np.stack([noisy(model(p)) for p in pictures]).astype(float)))
    left = [psnr(p, p * (model.values / found.values)) for p in pictures]
    print(f"{count} photographs through one lens: the gain alone leaves {np.mean(left):.1f} dB", flush=True)


def strengths() -> None:
    """Loss against the oracle weight of total variation where the parameters are known."""
    losses = []
    for name, picture in photographs(3):
        for case in corrections(picture):
            linear = getattr(case.known, "linear", case.known)
            problem = measure(f"{name}, {case.name}", case.scene, linear, NOISE)
            image, info = solve(problem, return_info=True)
            _, best = oracle(problem, info.plan.strength)
            losses.append(best - psnr(problem.truth, image))
            print(f"{problem.name:34s} loss {losses[-1]:.3f} dB", flush=True)
    print(f"loss against the oracle weight: mean {np.mean(losses):.3f} dB (at most 0.3), worst {max(losses):.3f} dB")


PARTS = (known_and_estimated, flicker, one_photograph, assumed_gamma, one_lens, strengths)


def main(arguments: Sequence[str] = ()) -> None:
    for part in PARTS:
        if not arguments or part.__name__ in arguments:
            part()


if __name__ == "__main__":
    main(sys.argv[1:])
