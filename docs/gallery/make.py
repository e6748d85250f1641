"""Make docs/gallery.md and its pictures: ``python docs/gallery/make.py [family ...]``."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import compressive
import correction
import diffraction
import optics
import own
import resonance
import responses
import satellite
import tomography
from shown import draw, source

from recon.info import ReconstructionWarning

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "gallery.md"
GROUPS = (tomography, resonance, optics, diffraction, responses, correction, satellite, compressive, own)
HEAD = f"""# Gallery

Every row is made by the code below it (`make gallery` makes this page): the truth, what is measured of it, the adjoint
image, and what `reconstruct` makes of the measurement. Strengths, solvers and steps are its own choice. The pictures
come with scikit-image; measurements are simulated, noise included. The adjoint image is no reconstruction: it shows
what the data see; where the model is not linear, what the title says stands in its place.

```python
{(HERE / "images.py").read_text(encoding="utf-8").split(chr(10) * 2, 1)[1].strip()}
```
"""


def families() -> dict[str, tuple[str, object]]:
    """Name of each family, with its group and its function."""
    return {name: (group.__doc__, function) for group in GROUPS for name, function in group.FAMILIES.items()}


def picture_name(name: str) -> str:
    """File of a family's pictures."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).replace("--", "-") + ".png"


def section(name: str, function) -> str:
    """The page's part on one family."""
    return (
        f"### {name}\n\n{function.__doc__}\n\n"
        f"![{name}: truth, measurement, adjoint image, reconstruction](gallery/{picture_name(name)})\n\n"
        f"```python\n{source(function)}\n```\n"
    )


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for group in GROUPS:
        parts.append(f"## {group.__doc__.rstrip('.')}\n\n```python\n{_imports(group)}\n```\n")
        parts.extend(section(name, function) for name, function in group.FAMILIES.items())
    return "\n".join(parts)


def _imports(group) -> str:
    lines = Path(group.__file__).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.startswith(("import ", "from ")) and " shown " not in line]
    return "\n".join(line for line in kept if " images " not in line)


def main(names: list[str]) -> None:
    """Run the families (all of them by default), write their pictures, and the page."""
    begin = time.perf_counter()
    for name, (_, function) in families().items():
        if names and name not in names:
            continue
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReconstructionWarning)
            result = function()
        seconds = time.perf_counter() - start
        png = draw(result)
        (HERE / picture_name(name)).write_bytes(png)
        print(f"{name:36}{result.psnr:6.1f} dB {seconds:6.1f} s {len(png) / 1e3:6.0f} kB", flush=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{time.perf_counter() - begin:.0f} s in all")


if __name__ == "__main__":
    main(sys.argv[1:])
