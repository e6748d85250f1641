"""The gallery page shows the code that made its pictures, and that code runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "gallery.md"


@pytest.fixture(scope="module")
def make():
    sys.path.insert(0, str(DOCS / "gallery"))
    try:
        import make
    finally:
        sys.path.pop(0)
    return make


def blocks_of(name: str) -> list[str]:
    """The page's code that comes before a family, and its own: the images, its group's imports, its lines."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(f"### {name}\n", 1)
    shared = [
        re.findall(r"```python\n(.*?)```", part, re.DOTALL)[0] for part in (before, before[before.rindex("\n## ") :])
    ]
    return [*shared, re.findall(r"```python\n(.*?)```", after, re.DOTALL)[0]]


def test_the_page_shows_the_code(make):
    assert PAGE.read_text(encoding="utf-8") == make.page(), "docs/gallery.md is out of date. Run: make gallery"


def test_every_picture_is_there_and_small(make):
    sizes = {name: (DOCS / "gallery" / make.picture_name(name)).stat().st_size for name in make.families()}
    assert max(sizes.values()) < 150_000, max(sizes, key=sizes.__getitem__)
    assert sum(sizes.values()) < 3_000_000
    assert {path.name for path in (DOCS / "gallery").glob("*.png")} == set(map(make.picture_name, sizes))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("Camera shake, colours", 28.0), ("Impulses", 33.0)])
def test_code_of_the_page_runs_as_it_stands(make, name, expected):
    namespace: dict[str, object] = {}
    for block in blocks_of(name):
        exec(block, namespace)
    _, family = make.families()[name]
    result = family()
    assert result.psnr > expected
    np.testing.assert_allclose(namespace["x"], result.x, atol=1e-5)
