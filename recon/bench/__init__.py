"""The solver benchmark: ``recon bench``, or :func:`bench` from Python.

Problems times solvers, times the peers that are installed: the same measurement, the same objective, and the time until
the objective is within 1e-2, 1e-3 and 1e-4 of its minimum and the image within 0.1 and 0.05 dB of its limit.
"""

from recon.bench._run import bench as bench
from recon.bench._trace import Trace as Trace
from recon.bench.problems import PROBLEMS as PROBLEMS
from recon.bench.problems import Problem as Problem
from recon.bench.report import Results as Results

__all__ = ["PROBLEMS", "Problem", "Results", "Trace", "bench"]
