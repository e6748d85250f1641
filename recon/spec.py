"""Operators described in YAML: the same names and parameters as the classes of :mod:`recon.operators`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recon import operators
from recon._spec_compositions import COMPOSITIONS, compose, nested
from recon._spec_values import CONVERTERS, Source, plain
from solvers.errors import FileError, ReconError, SpecError, suggestion

_ABSTRACT = {"LinearOperator", "NonlinearOperator", "Operator", "PointwiseOperator", "Unknown"}
_OPERATORS = ("field", "linear", "projector")
"""Parameters that are operators themselves, of the same measurement."""


def operator_names() -> dict[str, str]:
    """The operators a specification can name: ``parallel_beam`` is the class ``ParallelBeam``."""
    classes = [name for name in operators.__all__ if name[0].isupper() and name not in _ABSTRACT]
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in classes}


def load_operator(spec: str | os.PathLike[str] | Mapping[str, Any], y_shape: Sequence[int] | None = None) -> Any:
    """Build an operator from its description.

    Parameters
    ----------
    spec : path or mapping
        A YAML file, or its content as a mapping. ``operator`` is the name, the other keys are the parameters of the
        constructor. Arrays stand inline or in a file, whose path is relative to the specification. ``psf`` may also be
        a function of :mod:`recon.psf` and its arguments, such as ``{gaussian: {sigma: 2}}``; ``mask`` one of
        :mod:`recon.sampling` or ``landsat7_gaps``, ``trajectory`` one of :mod:`recon.trajectories`; lines of k-space
        say how long they are, ``{uniform_lines: {count: 256, acceleration: 4}, samples: 320}``. ``angles``, in radians,
        may also be a number of equal steps, ``{start: 0, stop: 180, count: 60, degrees: true}`` (stop left out, as in
        ``range``) or ``{values: angles.npy, degrees: true}``. ``product``, ``sum``, ``stack`` and ``block_diagonal``
        take a list, ``operators``, of specifications like these; where a parameter is an operator, it is one of them.
    y_shape : tuple of int, optional
        Shape of the measurement without channels: the ``shape`` of a blur, an identity, a shift or a mosaic
        that does not give one.

    Raises
    ------
    SpecError
        The YAML is malformed, names something unknown, or the operator refuses the values. The message gives the file
        and the line.
    FileError
        The specification itself cannot be read.

    Examples
    --------
    >>> load_operator({"operator": "blur", "psf": {"uniform": {"size": 3}}}, y_shape=(64, 64)).in_shape
    (64, 64)
    """
    source = _parse(Path(spec)) if isinstance(spec, (str, os.PathLike)) else Source("specification", Path(), spec)
    return _build(source, None if y_shape is None else tuple(y_shape))


def _parse(path: Path) -> Source:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. Pass the YAML file of the operator.") from error
    except UnicodeDecodeError:
        raise SpecError(f"{path} is not a text file; expected YAML. Pass the YAML file of the operator.") from None
    try:
        # yaml.safe_load in two steps: the node tree in between knows the lines.
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        source = Source(str(path), path.parent, loader.construct_document(node) if node else None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError(f"{path}{where}: malformed YAML, {error.problem or error.context}. Mend this line.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(f"{path}: malformed YAML, {error}. Mend the file.") from None
    try:
        _record_lines(node, (), source)
    except RecursionError:
        raise SpecError(f"{path}: an alias contains itself. Write the values out.") from None
    return source


def _record_lines(node: Any, keys: tuple[str, ...], source: Source) -> None:
    """Note the line of every key, and refuse a key given twice: YAML would keep the last one in silence."""
    import yaml

    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        here, line = (*keys, str(key.value)), key.start_mark.line + 1
        if here in source.lines:
            raise source.error(f"{here[-1]} stands again on line {line}; expected it once. Remove one of them.", *here)
        source.lines[here] = line
        _record_lines(value, here, source)
    for index, entry in enumerate(node.value if isinstance(node, yaml.SequenceNode) else ()):
        source.lines[(*keys, str(index))] = entry.start_mark.line + 1
        _record_lines(entry, (*keys, str(index)), source)


def _build(source: Source, y_shape: tuple[int, ...] | None) -> Any:
    name = _operator_name(source)
    if name in COMPOSITIONS:
        return compose(source, name, _build, y_shape)
    kind = getattr(operators, operator_names()[name])
    parameters = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {}
    for key, value in source.content.items():
        if key == "operator":
            continue
        if key not in parameters:
            listed, hint = ", ".join(parameters), suggestion(key, parameters)
            raise source.error(f"{name} has no parameter {key!r}; it takes {listed}.{hint}", str(key))
        within = key in _OPERATORS
        arguments[key] = (
            _build(nested(source, (key,), value), y_shape) if within else CONVERTERS.get(key, plain)(source, key, value)
        )
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in arguments:
            arguments[key] = _missing(source, name, key, arguments, y_shape)
    try:
        return kind(**arguments)
    except ReconError as error:
        raise source.error(f"{name}: {error}", "operator") from error


def _operator_name(source: Source) -> str:
    names = sorted([*operator_names(), *COMPOSITIONS])
    known = ", ".join(names)
    if not isinstance(source.content, Mapping) or "operator" not in source.content:
        raise source.error(f"expected a mapping with the key operator, such as operator: blur. Known are {known}.")
    name = source.content["operator"]
    if not isinstance(name, str) or name not in names:
        raise source.error(f"operator is {name!r}; expected one of {known}.{suggestion(name, names)}", "operator")
    return name


def _missing(
    source: Source, name: str, key: str, arguments: dict[str, Any], y_shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The shape, where the measurement has the image's; everything else must be given."""
    if key == "shape" and y_shape is not None:
        if name in ("bayer", "identity", "shift"):
            return y_shape
        if name == "blur" and hasattr(arguments.get("psf"), "ndim") and 0 < arguments["psf"].ndim <= len(y_shape):
            return y_shape[len(y_shape) - arguments["psf"].ndim :]
    example = "shape: [512, 512], the rows and columns of the image" if key == "shape" else f"{key}: ..."
    raise source.error(f"{name} needs the parameter {key!r}, which is missing. Add {example}.", "operator")
