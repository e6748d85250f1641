"""Operators made of operators in a specification: ``operator: product`` and the like, with a list of nested ones."""

from __future__ import annotations

import functools
import inspect
import operator as arithmetic
from collections.abc import Callable, Mapping
from typing import Any

from recon._spec_values import Source
from recon.operators.base import block_diagonal, stack
from solvers.errors import ReconError, suggestion

Build = Callable[[Source, "tuple[int, ...] | None"], Any]


def product(operators: list[Any]) -> Any:
    """``y = A B C x``: the last one sees the image, the first one gives the measurement."""
    return functools.reduce(arithmetic.matmul, operators)


def total(operators: list[Any]) -> Any:
    """``y = A x + B x + C x``."""
    return functools.reduce(arithmetic.add, operators)


COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "block_diagonal": block_diagonal,
    "product": product,
    "stack": stack,
    "sum": total,
}


def compose(source: Source, name: str, build: Build, y_shape: tuple[int, ...] | None) -> Any:
    """Build the operators of a composition, then the composition."""
    function = COMPOSITIONS[name]
    allowed = list(inspect.signature(function).parameters)
    for key in source.content:
        if key != "operator" and key not in allowed:
            hint = suggestion(str(key), allowed)
            raise source.error(f"{name} has no parameter {key!r}; it takes {', '.join(allowed)}.{hint}", str(key))
    entries = source.content.get("operators")
    if not isinstance(entries, list) or not entries:
        where = "operators" if "operators" in source.content else "operator"
        raise source.error(f"{name} needs operators, a list of mappings with the key operator each.", where)
    options = {key: value for key, value in source.content.items() if key in allowed and key != "operators"}
    if not isinstance(options.get("flatten", False), bool):
        raise source.error(f"flatten is {options['flatten']!r}; expected true or false.", "flatten")
    parts: list[Any] = []
    for index, entry in enumerate(entries):
        shape = _measured(name, parts, y_shape, bool(options.get("flatten")))
        parts.append(build(nested(source, ("operators", str(index)), entry), shape))
    try:
        return function(parts, **options)
    except ReconError as error:
        raise source.error(f"{name}: {error}", "operator") from error


def _measured(name: str, built: list[Any], y_shape: tuple[int, ...] | None, flatten: bool) -> tuple[int, ...] | None:
    """Shape that the next operator measures, where it is known: that of the image of the one before in a product."""
    if name == "product":
        return tuple(built[-1].in_shape) if built else y_shape
    if name == "sum":
        return y_shape
    return None if flatten or not y_shape or len(y_shape) < 2 else y_shape[1:]


def nested(source: Source, here: tuple[str, ...], entry: Any) -> Source:
    """The specification that stands within another, its lines counted in the same file."""
    lines = {keys[len(here) :]: line for keys, line in source.lines.items() if keys[: len(here)] == here}
    content = dict(entry) if isinstance(entry, Mapping) else entry
    return Source(source.name, source.folder, content, lines)
