"""What a peer offers on one problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class PeerRun(NamedTuple):
    """A solver of another library, set up for one measurement and strength."""

    run: Callable[[int], np.ndarray]  # iterations -> image, from the start
    objective: Callable[[np.ndarray], float]  # of an image, by the peer's own functions
    reference: Callable[[], np.ndarray] | None = None  # where its model differs from ours: an image near its limit
