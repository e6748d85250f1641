"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from solvers.errors import FileError


def check_target(path: Path, *, overwrite: bool = True) -> Path:
    """Return the real path that ``path`` names, or say why it cannot be written."""
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise FileError(f"{path}: the directory {real.parent} does not exist. Create it, or write somewhere else.")
    if real.exists() and not real.is_file():
        raise FileError(f"{path} is not a regular file; expected a file name. Write to another path.")
    if real.exists() and not overwrite:
        raise FileError(f"{path} exists and overwrite is False. Pass overwrite=True, or another path.")
    if not os.access(real if real.exists() else real.parent, os.W_OK) or not os.access(real.parent, os.W_OK):
        raise FileError(f"{path} cannot be written: no permission. Change the permissions, or write somewhere else.")
    return real


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the place of ``path`` only if the block succeeds.

    The temporary file is removed on every exception, an interruption included.
    """
    target = check_target(Path(path), overwrite=overwrite)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        _flush(temporary)
        os.replace(temporary, target)
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{path} cannot be written: {reason}. Free the space or write somewhere else.") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
