"""What the README shows runs as it stands there, block after block, in an empty folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recon.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
EXECUTED = {"python", "yaml", "sh"}


@dataclass(frozen=True)
class Block:
    """A fenced block of the README."""

    language: str
    line: int
    text: str


def blocks(text: str) -> Iterator[Block]:
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(match[1], text[: match.start()].count("\n") + 2, match[2])


def run_block(block: Block, namespace: dict[str, object]) -> None:
    if block.language == "python":
        # Blank lines in front, so that a traceback names the line of the README.
        exec(compile("\n" * (block.line - 1) + block.text, str(README), "exec"), namespace)
    elif block.language == "yaml":
        name = re.match(r"# (\S+\.yaml)\n", block.text)
        assert name, f"README.md, line {block.line}: a YAML block begins with a comment that names its file"
        Path(name[1]).write_text(block.text, encoding="utf-8")
    elif block.language == "sh":
        for command in block.text.splitlines():
            program, *arguments = shlex.split(command)
            assert program == "recon", f"README.md, line {block.line}: only recon commands stand in sh blocks"
            assert main(arguments) == 0, command


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(blocks(README.read_text(encoding="utf-8")))
    assert {block.language for block in found} >= EXECUTED
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in found:
        run_block(block, namespace)
    from recon import files

    assert files.read("x.png").array.shape == np.shape(namespace["image"])


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README.read_text(encoding="utf-8"))) <= targets


def test_the_names_it_lists_exist() -> None:
    """The tables name what the packages export, and all of it."""
    import priors
    import solvers
    from recon import operators

    text = README.read_text(encoding="utf-8")
    for name in [*operators.__all__, *priors.__all__, *solvers.__all__]:
        public = name[0].isupper() or name.startswith("from_")
        support = name in {"Gradient", "LinearOperator", "Operator", "Prior", "Solution", "Status"}
        data_term = name in {"LeastSquares", "PoissonLikelihood", "RegularisedCG"}
        assert not public or support or data_term or re.search(rf"\b{name}\b", text), f"README.md does not name {name}"
