"""Typed errors of the library.

Every message names the argument, what was given, what was expected and the remedy. Each class also derives from the
built-in exception a caller would already be catching, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReconError(Exception):
    """Base of every error the library raises on purpose."""


class ShapeError(ReconError, ValueError):
    """An array has the wrong shape."""


class DTypeError(ReconError, TypeError):
    """An array or argument has the wrong type."""


class NonFiniteError(ReconError, ValueError):
    """An array holds NaN or infinite values."""


class ArgumentError(ReconError, ValueError):
    """An argument has a value outside what it may be."""


class OptionError(ReconError, TypeError):
    """A keyword or a named choice is unknown."""


class OperatorError(ReconError, ValueError):
    """An operator breaks its contract: a wrong adjoint, a changed input, a wrong output shape."""


class FileError(ReconError, OSError):
    """A file cannot be read or written as asked."""


class SpecError(ReconError, ValueError):
    """An operator specification (YAML) is malformed or names something unknown."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
