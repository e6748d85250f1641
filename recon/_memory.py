"""How much memory a reconstruction will take at its peak, and how much there is."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from recon.noise import Gaussian
from solvers import arrays

SHOWN = 2**28  # bytes from which a plan mentions the memory
MARGIN = 0.4  # of an image: blocks, masks of bits and a thinned image

# In images, fitted to the peaks that `python -m benchmarks.memory_volume` prints: of any solve, of each array of split
# or dual variables, of conjugate gradients inside, of each array of measurements beyond the image's size.
ANY, EACH_SPLIT, INSIDE, EACH_MEASUREMENT = 12.0, 5.5, 8.0, 11.0
MODEL = 140.0  # of quasi-Newton steps: twenty directions, seven arrays for each
SEARCH = {"seen and unseen": 3.5}
"""How many times as much a search takes: its solves are batches of two, and some are kept."""
USUAL_SEARCH = 2.6


def estimated_bytes(request: Any, *, in_place: bool) -> int:
    """Peak of what :func:`recon.reconstruct` allocates, the image that it returns included and ``y`` not."""
    operator, y = request.operator, request.y
    pixel_bytes = arrays.to_numpy(y[(0,) * y.ndim] if y.ndim else y).nbytes
    batch = arrays.size(y) // math.prod(operator.out_shape)
    image = batch * math.prod(operator.in_shape) * pixel_bytes
    count = _in_place(request) if in_place else _usual(request, arrays.size(y) * pixel_bytes / image)
    return int(count * image)


def _in_place(request: Any) -> float:
    """Images: two buffers, the split variables, ``A^H y`` unless it is y, and in a search y with the probe."""
    from solvers._in_place import measures_pixels

    operator, search = request.operator, request.plan.criterion is not None
    pixels = measures_pixels(operator)
    bounds = sum(term.operator is None for term in request.plan.prior.terms())
    masked = pixels and operator.sampling is not None
    steps = 2 + len(operator.in_shape) + bounds + (not pixels) + masked + search + 0.5 * (masked and search)
    # What a periodic blur objects to is looked for when the solver's arrays are gone.
    return max(steps, 0.0 if pixels else 5.5) + MARGIN


def _usual(request: Any, measurements: float) -> float:
    operator, plan = request.operator, request.plan
    terms = plan.prior.terms()
    quadratic = isinstance(plan.noise, Gaussian)
    count = ANY + EACH_MEASUREMENT * max(measurements - 1, 0)
    if not (quadratic and all(getattr(term.function, "is_quadratic", False) for term in terms)):
        closed = quadratic and _offers(operator, "fourier_gram")
        split_data = not quadratic or (not closed and _offers(operator, "factors"))
        count += EACH_SPLIT * (sum(_arrays_of(term, operator) for term in terms) + split_data)
        inside = MODEL if plan.decisions["solver"].choice == "proximal-newton" else INSIDE
        count += 0.0 if closed or _offers(operator, "factors") else inside
    return count * (1.0 if plan.criterion is None else SEARCH.get(plan.criterion, USUAL_SEARCH))


def _offers(operator: Any, form: str) -> bool:
    return getattr(operator, form, lambda: None)() is not None


def _arrays_of(term: Any, operator: Any) -> float:
    """Images that the split variables of a term of the prior make."""
    if term.operator is None:
        return 1.0
    few = tuple(min(n, 8) for n in operator.in_shape)
    try:
        return arrays.size(term.apply(np.zeros(few))) / math.prod(few)
    except Exception:  # an operator for one shape alone
        return float(len(operator.in_shape))


def free_bytes() -> int | None:
    """Memory that a new allocation can have without swapping, None where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def shown(count: float) -> str:
    """A number of bytes for people: ``1.2 GB``."""
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def shortage(needed: int) -> str | None:
    """What to say where there is less memory than needed, else None."""
    free = free_bytes()
    if free is None or needed <= free:
        return None
    return (
        f"This takes about {shown(needed)} of memory and {shown(free)} are free. Pass y in single precision, a "
        "strength= (one solve takes less than the search for it), or a part of the measurement at a time."
    )
