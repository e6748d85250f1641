"""Exports that load when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def attach(
    package: str, names: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` for a package whose exports load on first use.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    names : mapping of str to str
        For each exported name, the module that defines it.
    modules : mapping of str to str, optional
        For each exported name that is itself a module, that module.
    """
    modules = modules or {}
    exported = sorted([*names, *modules])
    _keep_exports(package, names)

    def __getattr__(name: str) -> Any:
        if name in names:
            value = getattr(importlib.import_module(names[name]), name)
        elif name in modules:
            value = importlib.import_module(modules[name])
        else:
            from solvers.errors import suggestion

            raise AttributeError(f"module {package!r} has no attribute {name!r}.{suggestion(name, exported)}")
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*exported, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return __getattr__, __dir__, exported


def _keep_exports(package: str, names: Mapping[str, str]) -> None:
    # Importing the module ``recon.plan`` would bind it over the exported function ``recon.plan``.
    class Package(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if not (name in names and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package
