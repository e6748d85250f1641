"""Meta-learning: sine waves, classes, few images: ``python -m benchmarks.meta [section ...]``."""

from __future__ import annotations

import sys

from benchmarks import meta_adapt, meta_classes, meta_schedule, meta_sine


def main() -> None:
    sections = {
        "sine": meta_sine.report,
        "classes": meta_classes.report,
        "denoiser": meta_adapt.denoiser,
        "instruments": meta_adapt.instruments,
        "schedule": meta_schedule.report,
    }
    for name in sys.argv[1:] or sections:
        sections[name]()


if __name__ == "__main__":
    main()
