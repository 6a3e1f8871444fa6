"""Measure how often a model draws what it hears in the films of shapes.py; no human is asked.

    python examples/measure_shapes.py runs/shapes pairs --picture drawn.png

takes what `synesthete demo --pairs pairs --out runs/shapes` made. What is seen is what is heard
where the colour is the same and the height within an eighth of its range.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from shapes import Pixels, heard, seen

import synesthete
from synesthete import metrics, pixels
from synesthete.data import storage
from synesthete.data.alignment import Alignment
from synesthete.metrics.shares import Share

NEAR, SHOWN = 1 / 8, 10


def drawings(model: str, test: Alignment) -> Pixels:
    """One uint8[R, H, W, 3] for each recording, of seed 0."""
    drawn: Pixels = synesthete.load(model).generate(
        [*test.waveforms], n=1, sample_rate=test.rate, seed=0
    )[:, 0]
    return drawn


def shares(drawn: Pixels, test: Alignment) -> dict[str, Share]:
    """How often what is seen is what is heard, with 95% intervals over the films."""
    rng = np.random.default_rng(0)
    sounds, frames = test.edges.T
    told = [heard(test.waveforms[sound], test.rate) for sound in sounds]
    _, films = np.unique(test.audio_groups, return_inverse=True)
    shown = {
        "real frames": pixels.seen(test.images)[frames],
        "drawings": drawn[sounds],
        "drawings, shuffled": drawn[rng.permutation(sounds)],
    }
    return {
        name: metrics.share(
            np.array([_alike(a, seen(image)) for a, image in zip(told, images, strict=True)]),
            films[sounds], rng,
        )
        for name, images in shown.items()
    }  # fmt: skip


def _alike(one: tuple[str, float], other: tuple[str, float]) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) < NEAR


def picture(drawn: Pixels, test: Alignment) -> Pixels:
    """Drawings above the real frames of the same sounds."""
    some = test.edges[np.random.default_rng(0).permutation(len(test.edges))[:SHOWN]]
    rows = [drawn[some[:, 0]], pixels.seen(test.images)[some[:, 1]]]
    return pixels.tile(np.concatenate(rows), SHOWN, gap=2)


def main() -> None:
    """Print the shares; draw where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("pairs")
    parser.add_argument("--picture", type=Path, help="write drawings and real frames here")
    arguments = parser.parse_args()
    test = storage.load(arguments.pairs, ("test",))
    drawn = drawings(arguments.model, test)
    for name, found in shares(drawn, test).items():
        low, high = found["ci95"]
        print(
            f"{name}: {found['value']:.1%} of {len(test.edges)} "
            f"(95% interval over {found['n']} films: {low:.1%}-{high:.1%})"
        )
    if arguments.picture:
        sheet = Image.fromarray(picture(drawn, test))
        sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(
            arguments.picture
        )


if __name__ == "__main__":
    main()
