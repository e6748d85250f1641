"""Figures of merit with their limits, and the report they make up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.errors import OperatorError


@dataclass(frozen=True)
class Figure:
    """One measured figure; it passes at or under its limit."""

    name: str
    value: float
    limit: float
    remedy: str  # what to do if it fails

    @property
    def ok(self) -> bool:
        """Whether the figure is within its limit (NaN is not)."""
        return bool(self.value <= self.limit)


@dataclass(frozen=True)
class Report:
    """What a check measured. ``print`` it for a table."""

    subject: str
    figures: tuple[Figure, ...]

    @property
    def ok(self) -> bool:
        """Whether every figure is within its limit."""
        return all(figure.ok for figure in self.figures)

    @property
    def failures(self) -> tuple[Figure, ...]:
        """The figures beyond their limits."""
        return tuple(figure for figure in self.figures if not figure.ok)

    def __str__(self) -> str:
        # What holds exactly needs no row of its own.
        measured = [figure for figure in self.figures if figure.limit > 0 or not figure.ok]
        width = max((len(figure.name) for figure in measured), default=6)
        lines = [self.subject, f"  {'figure':<{width}}  {'measured':>9}  {'limit':>9}"]
        for figure in measured:
            verdict = "ok" if figure.ok else "FAILS"
            lines.append(f"  {figure.name:<{width}}  {figure.value:9.2e}  {figure.limit:9.2e}  {verdict}")
        return "\n".join([*lines, f"  {len(self.figures) - len(measured)} further properties hold exactly"])

    def raise_failures(self) -> None:
        """Raise an error that lists every failure with its remedy."""
        if not self.ok:
            lines = [
                f"  {figure.name}: {figure.value:.2e}, expected at most {figure.limit:.2e}. {figure.remedy}"
                for figure in self.failures
            ]
            raise OperatorError("\n".join([f"{self.subject} breaks its contract:", *lines]))


def measure(subject: str, checks: dict[str, Callable[[], Iterator[Figure]]]) -> Report:
    """Run the checks; one that raises becomes a figure that fails and carries the message."""
    figures: list[Figure] = []
    for name, check in checks.items():
        try:
            figures.extend(check())
        except Exception as error:
            figures.append(Figure(name, float("inf"), 0.0, f"{type(error).__name__}: {error}"))
    return Report(subject, tuple(figures))


def relative(a: Any, b: Any) -> float:
    """``|a - b| / |b|`` in double precision; 0 where both vanish, infinite where shapes or dtypes differ."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    scale = float(np.linalg.norm(_wide(b)))
    difference = float(np.linalg.norm(_wide(a) - _wide(b)))
    return difference / scale if scale > 0 else difference


def inner(a: np.ndarray, b: np.ndarray) -> complex:
    """``<a, b>`` accumulated in double precision."""
    return complex(np.vdot(_wide(b), _wide(a)))


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.complex128 if np.iscomplexobj(a) else np.float64).reshape(-1)


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Normal noise of a real or complex dtype, read-only so that a hidden write is seen."""
    values = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    values = np.asarray(values).astype(dtype)
    values.flags.writeable = False
    return values
