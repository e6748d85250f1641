"""Image correction."""

import numpy as np
from images import camera, colours, picture
from shown import row

from recon import Gaussian, enhance, reconstruct
from recon import operators as ops

coffee = picture("coffee", 160, 240)


def lens():
    """A lens darkens the corners; four frames of one scene, between which the camera moved, tell by how much."""
    moved = ops.stack([ops.Shift(camera.shape, shift) for shift in [(0, 0), (25, 0), (0, 28), (-24, -22)]])
    truth = ops.Vignetting([-0.45, 0.1, -0.2], moved.out_shape) @ moved
    y = Gaussian(0.01).sample(truth(camera), rng=0)
    A = ops.Vignetting(ops.Unknown(), moved.out_shape) @ moved
    x = reconstruct(y, A)
    return row(camera, y, A, x, measured=lambda y: y[0], third=("mean of the frames", y.mean(0)))


def exposures():
    """Twenty frames of a still scene, each with its own exposure and offset."""
    rng = np.random.default_rng(0)
    still = ops.stack([ops.Identity(camera.shape)] * 20)
    truth = ops.Flicker(np.exp(0.2 * rng.standard_normal(20)), still.out_shape, 0.05 * rng.standard_normal(20))
    y = Gaussian(0.05).sample(truth(still(camera)), rng=0)
    A = ops.Flicker(ops.Unknown(), still.out_shape, ops.Unknown()) @ still
    x = reconstruct(y, A)
    a, b = np.polyfit(x.ravel(), camera.ravel(), 1)  # brightness and black level are nobody's to know
    return row(
        camera, y, A, a * x + b, measured=lambda y: np.hstack([y[3][:, :128], y[5][:, 128:]]), third=("one frame", y[5])
    )


def crosstalk():
    """Channels that see each other's light; a chart of known colours in the same light tells the matrix."""
    matrix = np.array([[0.7, 0.3, 0.0], [0.2, 0.7, 0.2], [0.0, 0.4, 0.6]])
    chart = np.random.default_rng(0).random((3, 4, 6))
    measured = Gaussian(0.002).sample(ops.ColourMixing(matrix, (4, 6))(chart), rng=0)
    found = ops.ColourMixing(ops.Unknown(shape=(3, 3)), (4, 6)).fit(chart, measured)
    y = Gaussian(0.01).sample(ops.ColourMixing(matrix, colours.shape[1:])(colours), rng=0)
    A = ops.ColourMixing(found["matrix"], colours.shape[1:])
    x = reconstruct(y, A)
    return row(colours, y, A, x)


def cast():
    """The colour of the light, from one picture: edges are grey on the average."""
    A = ops.ColourMixing(ops.Unknown(), colours.shape[1:])
    y = Gaussian(0.01).sample(A.with_values(matrix=[0.7, 1.0, 1.3])(colours), rng=0)
    x = reconstruct(y, A)
    return row(colours, y, A, x, third=("histograms equal", enhance(y, "equalise", channel_axis=0)))


def uneven():
    """Light that falls off over one picture: what is smooth enough is taken for light."""
    A = ops.Illumination(ops.Unknown(shape=(2, 2)), camera.shape)
    y = Gaussian(0.01).sample(A.with_values(gain=[[0.6, 1.0], [0.9, 1.5]])(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x, third=("CLAHE", enhance(y, "clahe")))


def haze():
    """Air between the camera and the scene, denser towards the top; dark patches tell how much, one picture."""
    A = ops.Haze(ops.Unknown(), ops.Unknown(), coffee.shape)
    t = np.linspace(0.3, 0.9, 160)[:, None] * np.ones((1, 240))
    y = Gaussian(0.005).sample(A.with_values(transmission=t, airlight=[0.8, 0.83, 0.88])(coffee), rng=0)
    x = reconstruct(y, A)
    return row(coffee, y, A, x, third=("stretched", enhance(y, "stretch", channel_axis=0)))


FAMILIES = {
    "Lens and several frames": lens,
    "Exposures": exposures,
    "Colours that mix": crosstalk,
    "Colour cast": cast,
    "Uneven light": uneven,
    "Haze": haze,
}
