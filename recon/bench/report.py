"""What the benchmark found: a table, JSON, and one self-contained HTML page with convergence plots."""

from __future__ import annotations

import html
import io
import json
import math
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from recon.bench._trace import DECIBELS, GAPS, Trace

PACKAGES = (
    "recon-imaging",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "deepinv",
    "pyproximal",
    "pylops",
    "sigpy",
    "astra-toolbox",
)
STYLE = (
    "body{font-family:sans-serif;max-width:72em;margin:2em auto}pre{overflow-x:auto;background:#f6f6f6;padding:1em}"
    "svg{max-width:100%;height:auto}"
)
PSNR_SHOWN = 2.0  # dB below the limit that plots show
OWN_LIMIT = "own model: distances in dB are to its own limit"


@dataclass(frozen=True)
class Result:
    """All the solvers on one problem."""

    problem: str
    operator: str
    strength: float
    least: float  # smallest objective that anyone found
    limit: float  # PSNR at the minimiser
    traces: list[Trace]

    def seconds_to(self, trace: Trace) -> list[float]:
        """Seconds to each of the gaps, then to each distance in dB; infinite where it was not reached."""
        if not trace.seconds:
            return [math.inf] * (len(GAPS) + len(DECIBELS))
        limit = trace.psnr[-1] if trace.note == OWN_LIMIT else self.limit
        distance = np.abs(np.array(trace.psnr) - limit)
        found = [
            *(trace.first_within(trace.gaps(self.least), gap) for gap in GAPS),
            *(trace.first_within(distance, decibels) for decibels in DECIBELS),
        ]
        return [math.inf if i is None else trace.seconds[i] for i in found]

    def calls_to(self, trace: Trace, gap: float) -> int | None:
        """Operator calls until the gap."""
        i = trace.first_within(trace.gaps(self.least), gap) if trace.seconds else None
        return None if i is None else trace.calls[i]

    def __str__(self) -> str:
        columns = [*(f"gap {g:g}" for g in GAPS), *(f"{d:g} dB" for d in DECIBELS)]
        limit = f", limit {self.limit:.2f} dB" if math.isfinite(self.limit) else ""
        lines = [
            f"{self.problem}   {self.operator}   strength {self.strength:.3g}{limit}",
            f"  {'seconds to':<28}" + "".join(f"{c:>11}" for c in columns) + f"{'calls':>8}{'MB':>8}{'compile':>9}",
        ]
        for trace in sorted(self.traces, key=lambda t: self.seconds_to(t)[1]):
            times = "".join(f"{_shown(s):>11}" for s in self.seconds_to(trace))
            calls = self.calls_to(trace, GAPS[1])
            lines.append(
                f"  {trace.solver:<28}{times}{calls if calls else '-':>8}{trace.peak_bytes / 1e6:>8.1f}"
                f"{trace.first_call:>9.2f}" + (f"  {trace.note}" if trace.note else "")
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Results:
    """The whole benchmark."""

    results: list[Result]
    threads: int

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.results)) + f"\n\n{self.machine()}"

    def machine(self) -> str:
        """Threads and versions, for the record. Operator calls are those to a gap of 1e-3."""
        versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
        return f"{self.threads} threads, Python {platform.python_version()}, {platform.machine()}; {versions}"

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers; what was not reached is None."""
        return {
            "threads": self.threads,
            "python": platform.python_version(),
            "versions": _versions(),
            "problems": [
                {
                    "name": r.problem,
                    "operator": r.operator,
                    "strength": r.strength,
                    "least_objective": r.least,
                    "limit_psnr": _finite(r.limit),
                    "solvers": [{**t.to_dict(), **self._reached(r, t)} for t in r.traces],
                }
                for r in self.results
            ],
        }

    def _reached(self, result: Result, trace: Trace) -> dict[str, Any]:
        times = list(map(_finite, result.seconds_to(trace)))
        return {
            "seconds_to_gap": dict(zip(map(str, GAPS), times, strict=False)),
            "seconds_to_decibels": dict(zip(map(str, DECIBELS), times[len(GAPS) :], strict=True)),
            "psnr": list(map(_finite, trace.psnr)),
        }

    def to_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` to a file."""
        _write(path, json.dumps(self.to_dict(), indent=1))

    def to_html(self, path: str | Path) -> None:
        """Write one page that needs nothing else: tables and convergence plots."""
        parts = [f"<h2>{html.escape(r.problem)}</h2><pre>{html.escape(str(r))}</pre>{_plots(r)}" for r in self.results]
        head = f"<meta charset='utf-8'><title>Solver benchmark</title><style>{STYLE}</style>"
        body = f"<h1>Solver benchmark</h1><p>{html.escape(self.machine())}</p>{''.join(parts)}"
        _write(path, f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")


def _plots(result: Result) -> str:
    """Gap and PSNR against seconds and operator calls, as an inline SVG."""
    from recon.report import pyplot

    plt = pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(13, 8), constrained_layout=True)
    shown = sorted((t for t in result.traces if t.seconds), key=lambda t: result.seconds_to(t)[1])
    for i, trace in enumerate(shown):
        style = {"color": plt.get_cmap("tab10")(i % 10), "linestyle": ("-", "--", ":")[i // 10 % 3]}
        gaps = np.maximum(trace.gaps(result.least), 1e-7)
        for column, at in enumerate((trace.seconds, trace.calls)):
            if column and not trace.calls[-1]:
                continue  # closed forms call no operator
            axes[0, column].loglog(at, gaps, label="" if column else trace.solver, **style)
            axes[1, column].semilogx(at, trace.psnr, **style)
    for (row, column), axis in np.ndenumerate(axes):
        axis.set_xlabel("operator calls" if column else "seconds")
        axis.set_ylabel("PSNR (dB)" if row else "relative gap of the objective")
        axis.grid(alpha=0.3)
        if row and math.isfinite(result.limit):
            axis.set_ylim(result.limit - PSNR_SHOWN, result.limit + PSNR_SHOWN / 4)
    if shown:
        figure.legend(loc="outside right upper", title="quickest first")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _write(path: str | Path, text: str) -> None:
    from recon import files

    with files.replacing(str(path)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
