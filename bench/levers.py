"""Choose and ablate the levers for unseen speakers on inner folds: `make levers`, resumable.

Each pair of FSDD's speakers is left out together: a recipe learns from the other two (and the
crowd) and is tested on both. Three of the twelve results have nothing to do with a given speaker,
neither training nor test: they choose for the row of that speaker in `bench/scores.py`. The twelve
together are the ablation. Results go to levers.json.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scores import MORE, SPEAKERS

from synesthete import config, judges, material, metrics, runs
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.progress import console

HERE = Path(__file__).parent
FOUND = HERE / "levers.json"
PAIRS = tuple(itertools.combinations(SPEAKERS, 2))
EACH = 500
"""Recordings of each speaker."""
STEPS = 700

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lever:
    """A variant of the preset `unseen`."""

    crowd: int
    """Synthetic speakers that it learns from besides."""
    overrides: Mapping[str, str] = field(default_factory=dict)


WHOLE = "whole"
LEVERS: Mapping[str, Lever] = {
    WHOLE: Lever(MORE),
    "no synthetic speakers": Lever(0),
    "half the synthetic speakers": Lever(MORE // 2),
    "twice the synthetic speakers": Lever(2 * MORE),
    "no re-recordings": Lever(MORE, {"scene.copies": "0"}),
    "no rooms, noise, clicks or clipping": Lever(MORE, {"scene.clean": "1.0"}),
    "no hard trimming": Lever(MORE, {"scene.trim": "60.0"}),
    "no other speeds": Lever(MORE, {"scene.speed": "0.0"}),
    "no stretched or shifted pictures": Lever(
        MORE, {"time_shift": "0", "time_scale": "0", "band_shift": "0", "band_scale": "0"}
    ),
    "no SpecAugment": Lever(MORE, {"masks": "0"}),
    "no dropout": Lever(MORE, {"dropout": "0.0"}),
    "plain encoder": Lever(MORE, {"body": "small"}),
    "bands normalised": Lever(MORE, {"normalise": "true"}),
    "contrastive alignment besides": Lever(MORE, {"contrastive": "10.0"}),
}

SIZES = {name for name, lever in LEVERS.items() if not lever.overrides}
"""Those that differ in the size of the crowd alone, which the inner folds choose."""


def main() -> None:
    """Run the folds that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="this lever")
    only = parser.parse_args().only
    for name in LEVERS if only is None else [only]:
        for pair in PAIRS:
            if ",".join(pair) in _read().get(name, {}):
                continue
            told = {who: np.packbits(right).tobytes().hex() for who, right in fold(name, pair)}
            found = _read()  # others may have run beside
            found.setdefault(name, {})[",".join(pair)] = told
            with whole_file(FOUND) as draft:
                draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def fold(name: str, pair: tuple[str, str]) -> Iterator[tuple[str, Right]]:
    """Train without both speakers of `pair`; for each, which recordings are drawn right."""
    lever, (test, validation) = LEVERS[name], pair
    mix = material.MixConfig(
        split=f"speaker:{test}", validation=f"speaker:{validation}", crowd=lever.crowd
    )
    folder = material.default(mix)
    if material.facts(folder)["audio_synthetic"]:
        raise SystemExit("FSDD could not be had: published scores are never of synthetic speakers")
    alignment, labels = material.load(folder)
    recipe = config.from_table(config.read("unseen"), {"steps": str(STEPS), **lever.overrides})
    console.print(f"{name}: without {test} and {validation}")
    out = Path("runs") / "levers" / "-".join([*name.replace(",", "").split(), *pair])
    held = runs.run(recipe, alignment, material.facts(folder), out, seed=0, resume=True)
    for side, who in (("test", test), ("validation", validation)):
        heard = alignment.subset(side)
        wanted = labels.of(heard)[0]
        images = Model(held).generate(list(heard.waveforms), 1, sample_rate=heard.rate)
        read = judges.read(judges.load_judge("lenet5"), images[:, 0])[1].argmax(1)
        yield who, read == wanted


def rows() -> dict[str, Right]:
    """Of each lever whose folds are all done: bool[speaker, left out besides, recording]."""
    done = {name: folds for name, folds in _read().items() if len(folds) == len(PAIRS)}
    return {
        name: np.array([[_right(folds, who, other) for other in _others(who)] for who in SPEAKERS])
        for name, folds in done.items()
    }


def table(right: Mapping[str, Right]) -> str:
    """A row a lever: agreement by the speaker tested, on all, and what is lost without it."""
    if WHOLE not in right:
        return "*Not run yet.*\n"
    lines = [
        f"| recipe | {' | '.join(SPEAKERS)} | mean | less than whole |",
        f"|---|{'---|' * (len(SPEAKERS) + 2)}",
    ]
    for name, values in right.items():
        cells = [f"{share:.1%}" for share in values.mean((1, 2))]
        everyone = values.transpose(1, 0, 2).reshape(len(SPEAKERS) - 1, -1)
        held = metrics.share(everyone, np.arange(everyone.shape[1]), np.random.default_rng(0))
        low, high = held["ci95"]
        mean = f"**{held['value']:.1%}** ({low:.1%} to {high:.1%})"
        lines.append(f"| {name} | {' | '.join(cells)} | {mean} | {_less(right, name)} |")
    return "\n".join(lines) + "\n"


def _less(right: Mapping[str, Right], name: str) -> str:
    """Points less than the whole recipe, with the interval over recordings, paired."""
    if name == WHOLE:
        return ""
    lost = 100 * (right[WHOLE].mean(1) - right[name].mean(1)).reshape(-1)
    picks = np.random.default_rng(0).integers(len(lost), size=(2_000, len(lost)))
    low, high = np.quantile(lost[picks].mean(1), (0.025, 0.975))
    return f"{lost.mean():.1f} ({low:.1f} to {high:.1f})"


def choices(right: Mapping[str, Right]) -> str:
    """A row a size of the crowd: its mean over the folds that have nothing to do with a speaker."""
    if not SIZES & {*right}:
        return "*Not run yet.*\n"
    lines = [
        f"| synthetic speakers | {' | '.join(f'for {who}' for who in SPEAKERS)} |",
        f"|---|{'---|' * len(SPEAKERS)}",
    ]
    for name in sorted(SIZES & {*right}, key=lambda name: LEVERS[name].crowd):
        apart = [right[name][_apart(who)].mean() for who in SPEAKERS]
        lines.append(f"| {LEVERS[name].crowd} | {' | '.join(f'{mean:.1%}' for mean in apart)} |")
    return "\n".join(lines) + "\n"


def _apart(who: str) -> tuple[list[int], list[int]]:
    """Where, in `rows`, stand the folds that left `who` out and tested another."""
    tested = [name for name in SPEAKERS if name != who]
    return [SPEAKERS.index(name) for name in tested], [_others(name).index(who) for name in tested]


def _others(who: str) -> list[str]:
    return [name for name in SPEAKERS if name != who]


def _right(folds: Mapping[str, Mapping[str, str]], who: str, other: str) -> Right:
    """bool[500], which of a speaker's recordings were drawn right where `other` was out too."""
    told = folds[",".join(sorted((who, other)))][who]
    return np.unpackbits(np.frombuffer(bytes.fromhex(told), np.uint8))[:EACH].astype(bool)


def _read() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    return json.loads(FOUND.read_text()) if FOUND.exists() else found


if __name__ == "__main__":
    main()
