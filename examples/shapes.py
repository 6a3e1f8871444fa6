"""Render videos of moving shapes whose sound tells what is seen: height is pitch, colour timbre.

    python examples/shapes.py clips

makes 60 films of 6 s (H.264 and AAC in mp4), in each of which one shape of one colour wanders up
and down; nothing else says what goes with what. `heard` and `seen` measure colour and height in a
sound and in an image: how well a model draws what it hears needs no human to tell.
"""

import argparse
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

SIDE, FPS, RATE = 96, 12, 16_000  # pixels, frames a second, Hz
LOW, OCTAVES = 220.0, 2.0  # pitch of the lowest place, Hz, and from there to the highest
MARGIN = 0.22  # of the picture's height, kept free at its top and bottom

COLOURS = {  # RGB, and the strengths of the first six harmonics
    "red": ((230, 60, 50), (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    "green": ((70, 200, 80), (1.0, 0.0, 0.6, 0.0, 0.4, 0.0)),
    "blue": ((70, 110, 240), (1.0, 0.8, 0.6, 0.5, 0.4, 0.3)),
    "yellow": ((235, 210, 60), (1.0, 0.9, 0.0, 0.0, 0.0, 0.0)),
}

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]


def film(path: Path, colour: str, seconds: float, rng: np.random.Generator) -> None:
    """One shape on its way, and its sound, as an mp4 file."""
    height = wander(seconds, rng)
    place = np.interp(np.arange(0, seconds, 1 / FPS), np.arange(len(height)) / RATE, height)
    across = rng.uniform(0.35, 0.65) + 0.1 * np.sin(np.arange(len(place)) / FPS * rng.uniform(1, 3))
    frames = [draw(colour, y, x, path.stem[-1]) for y, x in zip(place, across, strict=True)]
    write(path, frames, sing(colour, height, rng))


def wander(seconds: float, rng: np.random.Generator) -> Floats:
    """A height in 0..1 for each sample: slow enough to be one note for a moment."""
    time = np.arange(int(seconds * RATE)) / RATE
    turns, shift = rng.uniform(0.08, 0.16), rng.uniform(0, 1)
    return 0.5 + 0.5 * np.sin(2 * np.pi * (turns * time + shift))


def draw(colour: str, height: float, across: float, shape: str) -> Pixels:
    """uint8[SIDE, SIDE, 3]: a disc, a square or a diamond on a dark ground."""
    line = (np.arange(SIDE) + 0.5) / SIDE
    x, y = line[None, :] - across, line[:, None] - (1 - MARGIN - (1 - 2 * MARGIN) * height)
    norms = (np.hypot(x, y), np.maximum(np.abs(x), np.abs(y)) * 1.1, (np.abs(x) + np.abs(y)) * 0.8)
    inside = np.clip((0.16 - norms[int(shape) % 3]) * SIDE + 0.5, 0, 1)[..., None]
    ground = np.array([18, 18, 24])
    pixels = ground + inside * (np.array(COLOURS[colour][0]) - ground)
    return np.asarray(np.rint(pixels), np.uint8)


def sing(colour: str, height: Floats, rng: np.random.Generator) -> Floats:
    """The sound of a colour at each height: float[N] in -1..1."""
    phase = 2 * np.pi * np.cumsum(LOW * 2 ** (OCTAVES * height)) / RATE + rng.uniform(0, 6)
    strengths = COLOURS[colour][1]
    tone = sum(s * np.sin(n * phase) for n, s in enumerate(strengths, start=1))
    level = rng.uniform(0.3, 0.7) / sum(strengths)
    return level * np.asarray(tone) + rng.normal(0, 0.003, len(height))


def write(path: Path, frames: list[Pixels], wave: Floats) -> None:
    """Write frames and sound as H.264 and AAC."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=FPS)
        picture.width = picture.height = SIDE
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        for pixels in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode(None))
        samples = np.asarray(wave, np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def heard(wave: Floats, rate: int) -> tuple[str, float]:
    """The colour and the height that a sound float[N] tells: the best fit of all that there are."""
    size = 1 << (len(wave) * 4 - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size))
    heights = np.linspace(0, 1, 97)
    bins = LOW * 2 ** (OCTAVES * heights) * size / rate
    rows = np.rint(bins[:, None] * np.arange(1, 7)).astype(int)
    near = np.stack([spectrum[(rows + d).clip(0, len(spectrum) - 1)] for d in range(-8, 9)])
    found = near.max(axis=0)  # [heights, harmonics]
    names = list(COLOURS)
    wanted = np.array([COLOURS[name][1] for name in names], float)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    fit = found @ wanted.T
    best, colour = np.unravel_index(fit.argmax(), fit.shape)
    return names[int(colour)], float(heights[best])


def seen(image: Pixels) -> tuple[str, float]:
    """The colour and the height of what an image uint8[H, W, 3] shows."""
    light = image.astype(float).max(axis=2)
    weight = np.where(light > 0.5 * light.max(), light, 0)
    colour = (image * weight[..., None]).sum((0, 1)) / weight.sum()
    names = list(COLOURS)
    hues = np.array([COLOURS[name][0] for name in names], float)
    angles = hues @ colour / np.linalg.norm(hues, axis=1)
    row = (weight.sum(1) * (np.arange(len(image)) + 0.5)).sum() / weight.sum() / len(image)
    return names[int(angles.argmax())], float((1 - MARGIN - row) / (1 - 2 * MARGIN))


def main() -> None:
    """Render the films."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.films):
        colour = list(COLOURS)[number % len(COLOURS)]
        path = arguments.folder / f"{number:03}.mp4"
        film(path, colour, arguments.seconds, np.random.default_rng(number))


if __name__ == "__main__":
    main()
