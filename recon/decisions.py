"""What was decided about a reconstruction, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from solvers.arrays import Array


@dataclass(frozen=True)
class Decision:
    """One thing that was decided, and the reason."""

    choice: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What :func:`recon.reconstruct` does with a measurement.

    ``print(plan)`` gives a table. ``strength`` is a number once it is known: given, or selected by a reconstruction.
    """

    operator: Any
    noise: Any  # Gaussian or Poisson, what the solver works with
    sigma_known: bool
    prior: Any  # Prior, bounds included
    solver: Callable[..., Any] = field(repr=False)  # (data, prior, strength) -> algorithm
    strength: float | None
    criterion: str | None  # how the strength is selected; None where there is none to select
    max_iter: int
    tol: float
    channel_axis: int | None  # position of the channels in the measurement given
    decisions: dict[str, Decision] = field(repr=False)
    usual: float | None = None  # strength that has proved itself for denoisers, from which a search starts
    memory: int = 0  # estimate of the bytes allocated at the peak, the image included and the measurement not

    def __str__(self) -> str:
        width = max(len(name) for name in self.decisions)
        indent = max(len(d.choice) for d in self.decisions.values())
        rows = [f"{name:<{width}}  {d.choice:<{indent}}  {d.reason}" for name, d in self.decisions.items()]
        return "\n".join(row.rstrip() for row in rows)

    def _repr_html_(self) -> str:
        import html

        rows = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(d.choice)}</td><td>{html.escape(d.reason)}</td></tr>"
            for name, d in self.decisions.items()
        )
        return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True)
class Request:
    """A checked call: arrays in the layout the solvers use, and the plan."""

    y: Array  # (..., [channels,] *out_shape)
    operator: Any
    x0: Array | None
    plan: Plan
    to_image: Callable[[Array], Array] | None = None  # from the solution to the image, where it is solved for another
    candidates: tuple[Plan, ...] = ()  # a plan for each of the priors to choose from
    joint: bool = False  # whether the balance of the prior's own weights is chosen with the strength
    before: Plan | None = None  # what gives the image to start from, where that is worth its time
    compared: bool = False  # whether risks of different priors are compared
    known: tuple[Plan, Any] | None = None  # a candidate whose strength is chosen already, and its Choice
