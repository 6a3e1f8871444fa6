"""Choose and ablate the levers for unseen speakers on inner folds: `make levers`, resumable.

Each pair of FSDD's speakers is left out together: a recipe learns from the other two (and the
crowd) and is tested on both. Three of the twelve results have nothing to do with a given speaker,
neither training nor test: they choose the size of the crowd for the row of that speaker in
`bench/scores.py`. The twelve together are the ablation. Results go to levers.json.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats
from scores import FORGETFUL, MORE, SPEAKERS

from synesthete import config, judges, locks, material, runs
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
    """A variant of the preset `unseen`, without memory where it is not said."""

    crowd: int
    """Synthetic speakers that it learns from besides."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def command(self) -> str:
        """What a user types to train it, but for the speakers left out: its key in levers.json."""
        options = "".join(f" --{key} {value}" for key, value in self.given().items())
        return f"synesthete train unseen --crowd {self.crowd}{options} --seed {self.seed}"

    def given(self) -> dict[str, str]:
        """What differs from the preset."""
        return {"steps": str(STEPS), **FORGETFUL, **self.overrides}


WHOLE = "whole"
STILL = {"time_shift": "0", "time_scale": "0", "band_shift": "0", "band_scale": "0"}
LEVERS: Mapping[str, Lever] = {
    WHOLE: Lever(MORE),
    "whole, another seed": Lever(MORE, seed=1),
    "no synthetic speakers": Lever(0),
    "half the synthetic speakers": Lever(MORE // 2),
    "twice the synthetic speakers": Lever(2 * MORE),
    "no re-recordings": Lever(MORE, {"scene.copies": "0"}),
    "no rooms, noise, clicks or clipping": Lever(MORE, {"scene.clean": "1.0"}),
    "no hard trimming": Lever(MORE, {"scene.trim": "60.0"}),
    "no other speeds": Lever(MORE, {"scene.speed": "0.0"}),
    "no stretched or shifted pictures": Lever(MORE, STILL),
    "no SpecAugment": Lever(MORE, {"masks": "0"}),
    "no dropout": Lever(MORE, {"dropout": "0.0"}),
    "plain encoder": Lever(MORE, {"body": "small"}),
    "none of all these": Lever(
        0, {"scene.copies": "0", **STILL, "masks": "0", "dropout": "0.0", "body": "small"}
    ),
    "bands normalised": Lever(MORE, {"normalise": "true"}),
    "contrastive alignment besides": Lever(MORE, {"contrastive": "10.0"}),
    "a memory besides": Lever(MORE, {"memory": "512"}),
}

SIZES = {name for name, lever in LEVERS.items() if not lever.overrides and not lever.seed}
"""Those that differ in the size of the crowd alone, which the inner folds choose."""


def main() -> None:
    """Run the folds that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="this lever")
    only = parser.parse_args().only
    for name in LEVERS if only is None else [only]:
        command = LEVERS[name].command()
        for pair in PAIRS:
            if ",".join(pair) in _read().get(command, {}):
                continue
            told = {who: np.packbits(right).tobytes().hex() for who, right in fold(name, pair)}
            with locks.in_turn(FOUND, f"writing {FOUND.name}"), whole_file(FOUND) as draft:
                found = _read()  # others may have run beside
                found.setdefault(command, {})[",".join(pair)] = told
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
    recipe = config.from_table(config.read("unseen"), lever.given())
    console.print(f"{name}: without {test} and {validation}")
    out = Path("runs") / "levers" / "-".join([*name.replace(",", "").split(), *pair])
    held = runs.run(recipe, alignment, material.facts(folder), out, seed=lever.seed, resume=True)
    for side, who in (("test", test), ("validation", validation)):
        heard = alignment.subset(side)
        wanted = labels.of(heard)[0]
        images = Model(held).generate(list(heard.waveforms), 1, sample_rate=heard.rate)
        read = judges.read(judges.load_judge("lenet5"), images[:, 0])[1].argmax(1)
        yield who, read == wanted


def rows() -> dict[str, Right]:
    """Of each lever whose folds are all done: bool[speaker, left out besides, recording]."""
    found = _read()
    done = {
        name: folds
        for name, lever in LEVERS.items()
        if len(folds := found.get(lever.command(), {})) == len(PAIRS)
    }
    return {
        name: np.array([[_right(folds, who, other) for other in _others(who)] for who in SPEAKERS])
        for name, folds in done.items()
    }


def table(right: Mapping[str, Right]) -> str:
    """A row a lever: agreement by the speaker tested, on all, and what is lost without it.

    Intervals are Student's over the six trainings, each the mean of the two speakers that it is
    tested on; what is lost is paired by training.
    """
    if WHOLE not in right:
        return "*Not run yet.*\n"
    whole = _trainings(right[WHOLE])
    lines = [
        f"| recipe | {' | '.join(SPEAKERS)} | mean | less than whole |",
        f"|---|{'---|' * (len(SPEAKERS) + 2)}",
    ]
    for name, values in right.items():
        cells = [f"{share:.1%}" for share in values.mean((1, 2))]
        each = _trainings(values)
        low, high = _interval(each)
        mean = f"**{each.mean():.1%}** ({low:.1%} to {min(high, 1):.1%})"
        lost = 100 * (whole - each)
        low, high = _interval(lost)
        less = "" if name == WHOLE else f"{lost.mean():.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"| {_told(name)} | {' | '.join(cells)} | {mean} | {less} |")
    return "\n".join(lines) + "\n"


def choices(right: Mapping[str, Right]) -> str:
    """A row a lever: its mean over the folds that have nothing to do with each speaker."""
    if not right:
        return "*Not run yet.*\n"
    apart = {
        name: [values[_apart(who)].mean() for who in SPEAKERS] for name, values in right.items()
    }
    best = np.max([*apart.values()], axis=0)
    lines = [
        f"| recipe | {' | '.join(f'for {who}' for who in SPEAKERS)} |",
        f"|---|{'---|' * len(SPEAKERS)}",
    ]
    for name, means in apart.items():
        cells = [
            f"**{mean:.1%}**" if mean == most else f"{mean:.1%}"
            for mean, most in zip(means, best, strict=True)
        ]
        lines.append(f"| {_told(name)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _told(name: str) -> str:
    """The lever's name, with the size of the crowd where that is what differs."""
    return f"{name} ({LEVERS[name].crowd})" if name in SIZES else name


def _trainings(values: Right) -> npt.NDArray[np.float64]:
    """The mean agreement of each of the six trainings on both speakers that it left out."""
    folds = values.mean(2)
    return np.array([
        np.mean([folds[SPEAKERS.index(a), _others(a).index(b)] for a, b in (pair, pair[::-1])])
        for pair in PAIRS
    ])  # fmt: skip


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Student's 95% interval of the mean of a few trainings."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return float(values.mean() - half), float(values.mean() + half)


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
