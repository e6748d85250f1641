"""Training of what the library learns. Each name loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from recon.learn import meta as meta
    from recon.learn.adaptation import adapt_denoiser as adapt_denoiser
    from recon.learn.denoiser import train_denoiser as train_denoiser
    from recon.learn.images import Source as Source
    from recon.learn.schedules import ScheduleSettings as ScheduleSettings
    from recon.learn.schedules import train_schedule as train_schedule
    from recon.learn.settings import Settings as Settings

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ScheduleSettings": "recon.learn.schedules",
        "Settings": "recon.learn.settings",
        "Source": "recon.learn.images",
        "adapt_denoiser": "recon.learn.adaptation",
        "train_denoiser": "recon.learn.denoiser",
        "train_schedule": "recon.learn.schedules",
    },
    modules={"meta": "recon.learn.meta"},
)
