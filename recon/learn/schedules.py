"""Training of the learned schedule of plug-and-play restoration.

First lessons are gathered: the best steps of many random problems (:mod:`recon.learn.lessons`). Then the network is
fitted to them, in seconds, and practises on others (:mod:`recon.learn.practice`), in minutes, so that it can be trained
anew without any one family of operators.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.files import replacing
from recon.learn import report
from recon.learn.denoiser import target
from recon.learn.images import Collection, Source, collect
from recon.learn.lessons import Exercise, Lessons, lessons
from recon.learn.practice import practised, reference
from recon.learn.problems import ALL, FAMILIES
from recon.learn.schedule_network import ScheduleNetwork, squares
from recon.learn.settings import FromFile
from recon.learn.stopping import rehearsed, with_stop
from solvers import LearnedSchedule
from solvers.errors import FileError, OptionError, suggestion
from solvers.learned_plug_and_play import BOUNDS, FEATURES
from solvers.validation import positive_float, positive_int

USUAL, FEW = 8, 4
"""Numbers of steps that most runs have."""
LENGTHS = (USUAL, 6, 12)
"""Numbers of steps of the runs that teach when to end."""
CONSTANT = ("share", "length")
"""What learned constants depend on."""
LEAST_GAIN = 0.1
"""Weight, over that of a gain of 1 dB, of problems on which nothing is gained."""
FLOOR = 0.2
"""How much a parameter counts that never mattered, over the mean."""
ROUNDS = 300
"""Gradient steps of the fit, all lessons in each."""
SEEN = 2.5
"""Standard deviations beyond which features are clipped in use."""
ALIKE = ("amplification", "weakness")
"""Features by which problems are alike: how inversion treats the noise."""
UNIT = 0.25
"""What these are divided by; the others by their standard deviation."""
KIND, APART = "uneven", 0.1
"""And what makes two of another kind, and what that is divided by: gains that differ from pixel to pixel. Steps learned
on blurs lost 1.5 dB on some of them, which the features above take for blurs."""
REACH = 2.0
"""How far that goes: a distance, in those units, at which the schedule is trusted by exp(-1/2)."""
HEEDED = 0.5
"""Share of what lessons say that a schedule says: on families that taught nothing half was worth 0.11 dB more than all,
and 0.03 dB more than nothing."""
KEPT = 256
"""Most problems that a schedule remembers."""
SHAKEN = 0.5
"""Standard deviation of what is added to the features in the fit, over theirs: neighbours are to be alike."""
CAUTION = 3.0
"""Weight of levels that are too low, over that of those too high, where noise is loud."""
LOUD, LOUDER = -0.5, 0.15
"""Logarithm of the last level over the spread where that begins, and how gradually."""
FLATTEST = 0.2
"""Logarithm of the last level over the spread, beyond which an image is too flat to teach."""
RATE = 0.02
DECAY = 2e-3
PRACTICE = 77
"""Seed of the problems of the practice, that of the settings added."""
OFTEN = {"shading": 4.0}
"""How often problems of a family are practised on, over others: `reconstruct` takes these steps on uneven gains, and no
other family is alike."""
GRAINY = 0.5
"""Share of problems whose images have grain: slices and satellite images that users bring are measured themselves."""


@dataclass(frozen=True)
class ScheduleSettings(FromFile):
    """How a schedule is trained; a TOML file holds the same names.

    Parameters
    ----------
    widths : tuple of int
        Hidden layers of the network.
    batch, patch : int
        Problems that are solved side by side, and about their width in pixels.
    steps : (int, int)
        Least and largest number of steps of a run; many have 8 or 4.
    ascent : int
        Gradient steps towards the best parameters of a run.
    problems, practice : int
        Problems to practise on, and gradient steps of the practice.
    rehearsals : int
        Batches of problems that teach when to end.
    denoiser : str
        Name of the denoiser.
    seed : int
        Of the weights and problems.
    """

    widths: tuple[int, ...] = (24, 24)
    batch: int = 20
    patch: int = 64
    steps: tuple[int, int] = (4, 12)
    ascent: int = 6
    problems: int = 800
    practice: int = 300
    rehearsals: int = 4
    denoiser: str = "fast-grey"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("widths", "steps"):
            object.__setattr__(self, name, tuple(positive_int(name, n) for n in getattr(self, name)))
        positive_int("batch", self.batch)
        positive_int("patch", self.patch, minimum=32)
        positive_int("ascent", self.ascent)
        positive_int("problems", self.problems)
        positive_int("practice", self.practice, minimum=0)
        positive_int("rehearsals", self.rehearsals)
        positive_int("seed", self.seed, minimum=0)

    def length(self, rng: np.random.Generator) -> int:
        """Steps of the runs of a batch."""
        share = rng.random()
        return USUAL if share < 0.45 else FEW if share < 0.85 else int(rng.integers(self.steps[0], self.steps[1] + 1))


def train_schedule(
    data: Sequence[Source],
    out: str | os.PathLike[str],
    *,
    minutes: float,
    leave_one_out: bool = False,
    settings: ScheduleSettings | None = None,
    leg: float | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Lessons:
    """Train the schedule of :class:`solvers.LearnedDPIR` and write it with its model card.

    The lessons are written beside ``out`` after every batch, and so is what classical runs reach on the problems of the
    practice; the same call after an interruption goes on from there.

    Parameters
    ----------
    data : sequence of Source
        Folders of images and how often each is drawn from.
    out : path
        The ``.safetensors`` file to write; ``.md``, ``.lessons.safetensors`` and ``.references.json`` stand beside it.
    minutes : float
        Time for the lessons, over all runs. Practice takes about seven minutes more for each schedule, and what it is
        judged by a quarter of an hour.
    leave_one_out : bool
        Also write ``<out>-without-<family>`` for every family of operators, and ``<out>-constants``, which depends on
        the step alone.
    settings : ScheduleSettings, optional
        The network and how it is trained.
    leg : float, optional
        Minutes after which this run stops, to be continued by the same call.
    progress : callable, optional
        Called with a line of text from time to time.

    Returns
    -------
    Lessons
        All of them.
    """
    settings = settings or ScheduleSettings()
    path, budget = target(out), 60 * positive_float("minutes", minutes)
    stored = path.with_name(f"{path.stem}.lessons.safetensors")
    found, about = _resumed(stored, settings)
    end = min(budget, about["seconds"] + (math.inf if leg is None else 60 * positive_float("leg", leg)))
    images = collect(data, 1, 2 * settings.patch, 0)
    say = progress or (lambda text: None)
    found = _gathered(found, about, images, settings, stored, end, say)
    if about["seconds"] < budget:  # there are to be more lessons first
        settings = replace(settings, practice=0)
    card = _facts(settings, about, data, minutes, found)
    rehearsals = _rehearsals(images, settings)
    problems = _practised_on(images, settings)
    goals = _references(problems, path.with_name(f"{path.stem}.references.json"), settings)
    practice = partial(_practised, problems=problems, goals=goals, settings=settings, say=say)
    _write(path, _with_stop(practice(_heeded(fitted(found, settings, card=card))), rehearsals, settings))
    if leave_one_out:
        for family in FAMILIES:
            schedule = practice(_heeded(fitted(found.without([family]), settings, card=card)), without=family)
            schedule = _with_stop(schedule, rehearsals, settings, without=family)
            _write(path.with_name(f"{path.stem}-without-{family}.safetensors"), schedule)
        constants = fitted(found, settings, inputs=CONSTANT, card=card)
        _write(path.with_name(f"{path.stem}-constants.safetensors"), constants)
    path.with_suffix(".md").write_text(_card(path.stem, card), encoding="utf-8")
    return found


def _practised(
    schedule: LearnedSchedule, problems: Sequence[Exercise], goals: Sequence[float], settings: ScheduleSettings,
    say: Callable[[str], Any], without: str = "",
) -> LearnedSchedule:  # fmt: skip
    """The schedule after practice on the problems of the other families."""
    kept = [i for i, exercise in enumerate(problems) if exercise.family != without]
    with _one_thread():
        return practised(
            schedule, [problems[i] for i in kept], [goals[i] for i in kept], settings.practice,
            denoiser=settings.denoiser, batch=settings.batch, seed=settings.seed, progress=say,
            chances=[OFTEN.get(problems[i].family, 1.0) for i in kept],
        )  # fmt: skip


@contextmanager
def _one_thread() -> Iterator[None]:
    """The images are small: threads would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _with_stop(
    schedule: LearnedSchedule, rehearsals: Sequence[Sequence[Exercise]], settings: ScheduleSettings, without: str = ""
) -> LearnedSchedule:
    """The schedule that also says when to end, by rehearsals of the other families."""
    worth = [
        rehearsed(schedule, [e for e in exercises if e.family != without], LENGTHS[i % len(LENGTHS)], settings.denoiser)
        for i, exercises in enumerate(rehearsals)
    ]
    return with_stop(schedule, sum(worth[1:], worth[0]), settings.seed)


def _heeded(schedule: LearnedSchedule) -> LearnedSchedule:
    """The schedule that departs from what is untaught by a share only."""
    *inner, (weight, offset) = schedule.layers
    return replace(schedule, layers=(*inner, (HEEDED * weight, HEEDED * offset)))


def _rehearsals(images: Collection, settings: ScheduleSettings) -> list[list[Exercise]]:
    """Problems other than those of the lessons."""
    numbers = range(settings.rehearsals)
    return [_drawn(images, settings, (settings.seed, 1, number), settings.batch) for number in numbers]


def _practised_on(images: Collection, settings: ScheduleSettings) -> list[Exercise]:
    """Problems of the practice."""
    return _drawn(images, settings, (PRACTICE + settings.seed,), settings.problems if settings.practice else 0)


def _drawn(images: Collection, settings: ScheduleSettings, seed: tuple[int, ...], count: int) -> list[Exercise]:
    """So many problems, all families in turn."""
    names = list(ALL)
    return [
        Exercise.drawn(names[i % len(names)], images, np.random.default_rng((*seed, i)), settings.patch, GRAINY)
        for i in range(count)
    ]


def _references(problems: Sequence[Exercise], stored: Path, settings: ScheduleSettings) -> list[float]:
    """PSNR of classical runs on each; those of the file need not be found anew."""
    made = {"seed": settings.seed, "patch": settings.patch, "denoiser": settings.denoiser}
    known: dict[str, Any] = {"made with": made, "psnr": []}
    known = json.loads(stored.read_text()) if stored.exists() else known
    if known["made with"] != made:
        raise FileError(f"{stored} was made with {known['made with']}; expected {made}. Delete it to start anew.")
    for i in range(len(known["psnr"]), len(problems)):
        known["psnr"].append(reference(problems[i]))
        if i % settings.batch == settings.batch - 1 or i == len(problems) - 1:
            stored.write_text(json.dumps(known))
    return known["psnr"][: len(problems)]


def fitted(
    found: Lessons, settings: ScheduleSettings, *, inputs: tuple[str, ...] = FEATURES, card: Any = None
) -> LearnedSchedule:
    """The network that fits lessons best, each parameter counted by how much it mattered.

    Raises
    ------
    OptionError
        ``inputs`` holds what is no feature.
    """
    for name in inputs:
        if name not in FEATURES:
            raise OptionError(
                f"inputs hold {name!r}; expected some of {', '.join(FEATURES)}.{suggestion(name, FEATURES)}"
            )
    found = found.where(found.features[:, FEATURES.index("noise")] <= FLATTEST)
    features = found.features[:, [FEATURES.index(name) for name in inputs]]
    start = LearnedSchedule.untrained(inputs, BOUNDS, widths=settings.widths, rng=settings.seed)
    own = {**dict.fromkeys(ALIKE, UNIT), KIND: APART}
    scale = np.array([own.get(name, spread) for name, spread in zip(inputs, features.std(0) + 1e-2, strict=True)])
    network = ScheduleNetwork(replace(start, mean=features.mean(0), scale=scale, seen=SEEN))
    table = features, found.targets, _weights(found), _caution(found)
    given, wanted, counts, cautious = map(torch.from_numpy, table)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ROUNDS)
    generator = torch.Generator().manual_seed(settings.seed)
    spread = SHAKEN * network.scale
    for _ in range(ROUNDS):
        optimiser.zero_grad()
        shaken = given + spread * torch.randn(given.shape, generator=generator, dtype=given.dtype)
        error = network.table(shaken) - wanted
        loss = (counts * torch.where(error < 0, cautious, 1.0) * error.square()).mean()
        (loss + DECAY * squares(network)).backward()
        optimiser.step()
        falling.step()
    return replace(network.schedule(card), known=_known(found, network.start), reach=REACH)


def _known(found: Lessons, schedule: LearnedSchedule) -> np.ndarray | None:
    """Features of the problems, in units of the schedule's scale over its reach; NaN where they do not matter."""
    alike = [name in (*ALIKE, KIND) for name in schedule.inputs]
    if not any(alike):
        return None
    straight = found.features[:, FEATURES.index("curved")] == 0  # parabolas are known by what linear operators taught
    first = np.flatnonzero(straight & (found.features[:, FEATURES.index("share")] == 0))
    if len(first) == 0:
        return None
    features = found.features[first][:, [FEATURES.index(name) for name in schedule.inputs]]
    places = (features - schedule.mean) / schedule.scale
    return np.where(alike, places[_spread(places[:, alike], KEPT)], np.nan)


def _spread(places: np.ndarray, count: int) -> list[int]:
    """Numbers of places that are far from each other, until no other is left or there are so many."""
    chosen = [0]
    distance = ((places - places[0]) ** 2).sum(1)
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((places - places[chosen[-1]]) ** 2).sum(1))
    return chosen


def _caution(found: Lessons) -> np.ndarray:
    """How much more a parameter counts that is too small: under loud noise low levels take the noise for detail."""
    loud = 1 / (1 + np.exp((LOUD - found.features[:, FEATURES.index("noise")]) / LOUDER))
    is_level = np.array([name == "level" for name in BOUNDS])
    return 1 + (CAUTION - 1) * loud[:, None] * is_level


def _weights(found: Lessons) -> np.ndarray:
    """How much each entry counts: by its run, in which all steps share, and by how much it mattered there."""
    mean = np.empty(len(found.length))
    first = 0
    while first < len(mean):  # the rows of a run follow each other
        run = slice(first, first + int(found.length[first]))
        mean[run] = max(float(found.mattered[run].mean()), 1e-12)
        first = run.stop
    gain = np.clip(found.gain, 0, 1 - LEAST_GAIN) + LEAST_GAIN
    return (found.mattered / mean[:, None] + FLOOR) * (gain * USUAL / found.length)[:, None]


def _resumed(stored: Path, settings: ScheduleSettings) -> tuple[Lessons, dict[str, Any]]:
    """Lessons of earlier runs, and how long they took."""
    own = json.loads(json.dumps(asdict(settings)))
    if not stored.exists():
        return Lessons.none(), {"settings": own, "seconds": 0.0, "batches": 0}
    found, about = Lessons.load(stored)
    for name, value in about["settings"].items():
        if name not in ("widths", "rehearsals", "problems", "practice") and own[name] != value:
            raise FileError(
                f"{stored} was made with {name} = {value}; expected {own[name]}. Delete it to start anew, or use its "
                "settings."
            )
    return found, about


def _gathered(
    found: Lessons, about: dict[str, Any], images: Collection, settings: ScheduleSettings, stored: Path, end: float,
    say: Callable[[str], Any],
) -> Lessons:  # fmt: skip
    """Lessons until ``end`` seconds, all families in turn."""
    with _one_thread():
        while about["seconds"] < end:
            begin = time.perf_counter()
            batch = _batch(images, settings, about["batches"])
            found = found + batch
            about["batches"] += 1
            about["seconds"] += time.perf_counter() - begin
            found.save(stored, about)
            gain = float((batch.gain / batch.length).sum() / (1 / batch.length).sum())
            say(f"{about['seconds'] / 60:6.1f} min, {found.runs} problems; the last gained {gain:.2f} dB in the mean")
    return found


def _batch(images: Collection, settings: ScheduleSettings, number: int) -> Lessons:
    """Batch ``number`` of lessons: the same however often interrupted."""
    rng = np.random.default_rng((settings.seed, number))
    length = settings.length(rng)
    exercises = _drawn(images, settings, (settings.seed, number), settings.batch)
    return lessons(exercises, length, settings.ascent, settings.denoiser)


def _write(path: Path, schedule: LearnedSchedule) -> None:
    with replacing(path) as temporary:
        schedule.save(temporary)


def _facts(
    settings: ScheduleSettings, about: dict[str, Any], data: Sequence[Source], minutes: float, found: Lessons
) -> dict[str, Any]:
    """How a schedule was made, as plain data without paths of the machine."""
    folders = report.folders(data)
    return {
        "command": " ".join(["recon train-steps", *(f"--data {f}" for f in folders), f"--minutes {minutes:g}"]),
        "data": folders,
        "minutes": round(about["seconds"] / 60, 1),
        "problems": found.runs,
        "machine": report.machine(torch.device("cpu")),
        "settings": asdict(settings),
        "licence": report.LICENCE,
    }


def _card(name: str, made: dict[str, Any]) -> str:
    """The model card, in Markdown."""
    settings = "\n".join(f"{key} = {report.toml(value)}" for key, value in made["settings"].items())
    return f"""# {name}

A schedule for plug-and-play restoration with a closed-form data step; see `solvers.LearnedDPIR`.

- **Trained** by `{made["command"]}`: {made["minutes"]:g} minutes, {made["problems"]} problems, on {made["machine"]};
  then half-way through {made["settings"]["practice"]} steps of practice on {made["settings"]["problems"]} more
- **Data** (folder:weight): {", ".join(made["data"])}; operators of the families {", ".join(ALL)}
- **Licence** {made["licence"]}
- **Limits** It knows white Gaussian noise and the denoiser `{made["settings"]["denoiser"]}`, in 4 to 12 steps. What it
  gains on operators of other kinds is measured by `python -m benchmarks.schedules`, with whole families left out.

Settings:

```toml
{settings}
```
"""
