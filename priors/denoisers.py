"""Learned denoisers with the weights that come with the library, or with weights of one's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from priors import _precision, _tiling, weights
from priors._colours import like_a_photograph
from priors._decorrelation import Transform
from priors._torch_threads import one_thread
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, FileError, OptionError, ShapeError
from solvers.plug_and_play import in_position
from solvers.validation import as_inexact, positive_int

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import UNet

PRECISIONS = ("auto", "coarse", "float32", "bfloat16")
POSITIONS = 8
"""Ways to turn and mirror an image: what a network says of them differs by errors of its own, not of the image."""


@dataclass(frozen=True)
class Denoiser:
    """Learned denoiser ``D(v, sigma)`` for white Gaussian noise, in the unit of the image, whatever that is.

    The network has no biases and sees the image without its mean, hence ``D(a + c v, c sigma) = a + c D(v, sigma)`` for
    every ``a`` and ``c > 0``: Hounsfield units, reflectances and [0, 1] give the same image. The networks are trained
    for noise of up to 55/255 of the image's range; beyond that they extrapolate.

    Parameters
    ----------
    name : str or path
        ``"fast"``: the small network, and where the edges of three bands go together as in photographs the mean of it
        and the one for colours, which errs elsewhere; ``"quality"``: the mean of what these say of the image in its
        eight turned and mirrored positions, 0.07 dB better in eight times the time; a name of
        :func:`priors.available`; or the path of a ``.safetensors`` file, as ``recon train`` writes it.
    channels : bool
        Whether the axis before the last two holds colours or bands, denoised together. A colour network takes three at
        once; other numbers of bands, and grey networks, go through their principal components. Otherwise that axis is
        a batch like all other leading axes.
    precision : {"auto", "coarse", "float32", "bfloat16"}
        Arithmetic of the network on numpy arrays and on tensors without gradients. ``"auto"`` takes bfloat16 where the
        processor computes with it and that is measured to be quicker than the quickest form of single precision, and
        the noise is well above its rounding; ``"coarse"`` also where it is a tenth of that, for images that will be
        denoised again. ``"bfloat16"`` rounds by about a hundredth of the noise.
    tile : int
        Images with more pixels than ``tile * tile`` are denoised in tiles of that width, each with the surroundings
        that its pixels depend on, so that there are no seams and memory stays bounded. With gradients they are not.

    References
    ----------
    Mohan et al. 2020 (no biases); Zhang et al. 2018 (noise level as a channel).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Denoiser
    >>> clean = np.add.outer(np.arange(64.0), np.arange(64.0)) - 1000
    >>> noisy = clean + 10 * np.random.default_rng(0).standard_normal(clean.shape)
    >>> bool(np.std(Denoiser()(noisy, 10.0) - clean) < 5)
    True
    """

    name: str | os.PathLike[str] = "fast"
    channels: bool = False
    precision: str = "auto"
    tile: int = 1024

    def __post_init__(self) -> None:
        positive_int("tile", self.tile, minimum=64)
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}. Pass one.")
        if not isinstance(self.name, (str, os.PathLike)):
            raise DTypeError(f"name is {self.name!r}; expected a name of priors.available() or a path. Pass one.")

    def __call__(self, v: Array, sigma: Any) -> Array:
        """Remove white Gaussian noise of standard deviation ``sigma`` (of complex images: of either part).

        Parameters
        ----------
        v : array
            Image, ``(..., [bands,] rows, columns)``; tensors keep their device and gradients.
        sigma : float or array
            Standard deviation of the noise, at least 0; an array has a level for each image of the batch.

        Returns
        -------
        array
            Of the shape and dtype of ``v``. Images of noise level 0 come back as they are.
        """
        v = as_inexact("v", v)
        core = 3 if self.channels else 2
        if v.ndim < core or 0 in v.shape[-core:]:
            raise ShapeError(
                f"v has shape {tuple(v.shape)}; {self!r} takes images of at least {core} axes, none of length 0. "
                "Pass such an array."
            )
        import torch

        image = v if arrays.is_torch(v) else torch.from_numpy(np.ascontiguousarray(v))
        levels = _levels(sigma, image, tuple(v.shape[:-core]))
        images = image.reshape(levels.numel(), -1, *image.shape[-2:])
        with one_thread():
            out = torch.stack([self._one(bands, level) for bands, level in zip(images, levels, strict=True)])
            out = out.reshape(image.shape).to(image.dtype)
        return out if arrays.is_torch(v) else out.numpy()

    def _one(self, bands: Tensor, sigma: Tensor) -> Tensor:
        """One image ``(bands, rows, columns)``, real or complex: the mean of what its networks say."""
        if not bool(sigma > 0):
            return bands + 0
        positions = range(POSITIONS if self.name == "quality" else 1)
        by = [partial(self._by, name, sigma=sigma) for name in self._networks(bands, sigma)]
        answers = [in_position(network, bands, position) for network in by for position in positions]
        return sum(answers) / len(answers)

    def _by(self, name: str, bands: Tensor, sigma: Tensor) -> Tensor:
        import torch

        network = load_denoiser(name, bands.device.type)
        transform = Transform.of(bands, network.architecture.channels)
        components = transform.split(bands)
        if torch.is_grad_enabled() and (bands.requires_grad or sigma.requires_grad):
            return transform.join(_tiling.whole(network, components, sigma))
        with torch.no_grad():
            run = _precision.network(network, self.precision, components, sigma)
            return transform.join(_tiling.tiled(run, components, sigma, self.tile))

    def _networks(self, bands: Tensor, sigma: Tensor) -> tuple[str, ...]:
        """The names of the networks for such an image."""
        if self.name not in ("fast", "quality"):
            return (os.fspath(self.name),)
        three = self.channels and len(bands) == 3 and not bands.is_complex()
        return ("fast-grey", "fast-colour") if three and like_a_photograph(bands, sigma) else ("fast-grey",)


def load_denoiser(name_or_path: str | os.PathLike[str], device: str = "cpu") -> UNet:
    """The network of a denoiser as a torch module, ready on a device; read once for a process.

    Its weights take no gradients and are shared by all callers: copy it before changing it.

    Parameters
    ----------
    name_or_path : str or path
        A name of :func:`priors.available`, or a ``.safetensors`` file that ``recon train`` wrote. Pickles are refused.

    Raises
    ------
    OptionError, FileError
        The name is unknown; the file is damaged, a pickle, or not one of a denoiser.
    """
    given = os.fspath(name_or_path)
    changed = None if given in weights.available() or not os.path.exists(given) else os.stat(given).st_mtime_ns
    return _loaded(given, changed, device)


@lru_cache(maxsize=8)
def _loaded(name_or_path: str, changed: int | None, device: str) -> UNet:
    import torch

    from priors.networks import Architecture, UNet, placed

    found = weights.read(name_or_path)
    if found.architecture.get("kind") == "ridge":
        raise FileError(f"{name_or_path} holds a ridge regulariser; expected a network. Use priors.RidgeRegulariser.")
    with torch.random.fork_rng(devices=()):  # the caller's random numbers stay as they are
        network = UNet(Architecture(**found.architecture))
    network.load_state_dict(found.tensors)
    return placed(network, device).eval().requires_grad_(False)


def _levels(sigma: Any, image: Tensor, batch: tuple[int, ...]) -> Tensor:
    """A noise level for each image of the batch, ``(images,)``."""
    import torch

    levels = torch.as_tensor(sigma, dtype=image.real.dtype, device=image.device)
    if levels.ndim > len(batch) or any(n not in (1, m) for n, m in zip(levels.shape[::-1], batch[::-1], strict=False)):
        raise ShapeError(
            f"sigma has shape {tuple(levels.shape)} and the batch is {batch}; expected a number, or a level for each "
            "image of the batch. Reshape it."
        )
    known = levels.detach()
    if not bool(torch.isfinite(known).all()) or bool((known < 0).any()):
        raise ArgumentError(f"sigma is {sigma}; expected finite levels of at least 0. Pass standard deviations.")
    return levels.expand(batch).reshape(-1)
