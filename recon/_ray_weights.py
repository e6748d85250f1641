"""How much each view and each ray counts in filtered back-projection, so that every line counts once."""

from __future__ import annotations

import math
import warnings

import numpy as np

from recon.operators.fan_beam import FanBeam
from recon.operators.parallel_beam import ParallelBeam

_FEWEST_OF_A_TURN = 8  # views that may be taken for one


def angular_weights(angles: np.ndarray, period: float = np.pi) -> np.ndarray:
    """Half the gaps between each direction and its neighbours, modulo ``period``, to which they sum in a complete scan.

    A gap above 15 degrees and ten times the median is a wedge that was not measured: its ends count the median gap.
    """
    order, gaps, typical = _gaps(angles, period)
    gaps = np.where(_missing(gaps, typical), typical, gaps)
    weights = np.empty_like(gaps)
    weights[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return weights


def _gaps(angles: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Order of the directions, the gap after each of them, and the median gap."""
    order = np.argsort(angles % period, kind="stable")
    directions = (angles % period)[order]
    gaps = np.diff(directions, append=directions[0] + period)
    return order, gaps, float(np.median(gaps[gaps > 1e-9]))  # a direction may be measured twice, up to rounding


def _missing(gaps: np.ndarray, typical: float) -> np.ndarray:
    return gaps > max(10 * typical, np.pi / 12)


def parallel_weights(operator: ParallelBeam) -> np.ndarray:
    """Factor of each cell: 1, but in a full turn of a detector that reaches the edge of the image on one side only.

    There lines that one half turn measures count double, and fade over into those that both measure.
    """
    _, gaps, typical = _gaps(operator.angles, 2 * np.pi)
    if gaps.max() > max(3 * typical, np.pi / 12) or operator.angles.size < _FEWEST_OF_A_TURN:
        return np.ones(operator.detectors)
    needed = 0.5 * min(operator.in_shape) * operator.spacing / operator.detector_spacing
    return 2 * _across(np.arange(operator.detectors) - operator.center, needed)


def fan_weights(operator: FanBeam) -> np.ndarray:
    """Share of each ray (angles, detectors) in the line that it measures; the views' own weights are not in it.

    A full turn measures every line twice. A shorter scan gets Parker's weights, widened to all of its arc, and a
    detector that reaches the edge of the image on one side only gets weights that fade out towards the other side.
    """
    gamma = operator.fan_angles - math.atan2(operator.axis_offset, operator.source_distance)
    order, gaps, typical = _gaps(operator.angles, 2 * np.pi)
    widest = int(np.argmax(gaps))
    if not _missing(gaps, typical)[widest]:
        return np.broadcast_to(_across(gamma, _half_fan(operator)), operator.out_shape)
    arc = 2 * np.pi - gaps[widest] + typical
    _require_arc(arc, gamma, _half_fan(operator))
    begin = operator.angles[order[(widest + 1) % order.size]] - 0.5 * typical
    return parker((operator.angles - begin)[:, None] % (2 * np.pi), gamma, arc)


def parker(turned: np.ndarray, gamma: np.ndarray, arc: float) -> np.ndarray:
    """Smooth weights of rays that a scan over less than a turn measures twice.

    ``turned`` is the angle since its begin and ``gamma`` the angle of the ray from the one through the axis. The same
    line is measured again at ``turned + pi - 2 gamma`` and ``-gamma``; the two weights sum to one.
    """
    spare = 0.5 * (arc - np.pi)
    first, last = spare + gamma, spare - gamma  # half the arcs at the begin and the end that are measured twice
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = np.sin(0.25 * np.pi * turned / first) ** 2
        fall = np.sin(0.25 * np.pi * (arc - turned) / last) ** 2
    weights = np.where(turned < 2 * first, rise, 1.0)
    return np.where(arc - turned < 2 * last, fall, weights)


def _across(place: np.ndarray, needed: float) -> np.ndarray:
    """Weights of the rays of a full turn, which measures a line again at the opposite place."""
    step = abs(place[-1] - place[0]) / max(1, place.size - 1)
    left, right = -place[0] + 0.5 * step, place[-1] + 0.5 * step
    shared = min(left, right)
    if shared >= needed or max(left, right) < 1.05 * shared or shared <= 0:
        return np.full(place.size, 0.5)
    toward = place if right > left else -place
    return 0.5 + 0.5 * np.sin(0.5 * np.pi * np.clip(toward / shared, -1, 1))


def _half_fan(operator: FanBeam) -> float:
    """Angle from the rotation axis to the edge of the largest disc in the image, as seen from the source."""
    radius = 0.5 * min(operator.in_shape) * operator.spacing
    return math.asin(radius / math.hypot(operator.source_distance, operator.axis_offset))


def _require_arc(arc: float, gamma: np.ndarray, needed: float) -> None:
    opening = min(needed, float(np.abs(gamma).max()))
    if arc < np.pi + 2 * opening - 1e-6:
        warnings.warn(
            f"angles cover {np.rad2deg(arc):.0f} degrees; expected {np.rad2deg(np.pi + 2 * opening):.0f}, half a turn "
            "and the fan, to measure every line. Streaks are likely; recon.reconstruct copes better.",
            stacklevel=4,
        )
