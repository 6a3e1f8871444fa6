"""What a command works on: recordings, digits, and the mix of both, built once and kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from synesthete.data import fsdd, labels, mix, mnist, pair_shards, speech, storage
from synesthete.data.alignment import Alignment
from synesthete.data.fsdd import Recordings
from synesthete.data.labels import Labels
from synesthete.data.mnist import Mnist
from synesthete.data.pair_shards import PairShards
from synesthete.data.sources import ELSEWHERE, Unavailable, cache_directory
from synesthete.errors import UserError
from synesthete.locks import alone, in_turn
from synesthete.progress import console

Found = TypeVar("Found", Recordings, Mnist)


@dataclass(frozen=True)
class MixConfig:
    """Which mix of MNIST and spoken digits; the same values give the same mix."""

    split: str = "random"
    """`"random"` (the deck's 90/10), `"official"` or `"speaker:NAME"`."""
    validation: str | None = None
    """What is held out of the train recordings for tuning: None, `"random"`, `"speaker:NAME"`."""
    seed: int = 0
    """Of the pairs."""
    data: Path | None = None
    """A directory with FSDD or MNIST; else `SYNESTHETE_DATA`."""
    other_speakers: bool = False
    """Also use further speakers found beside the deck's four."""
    synthetic: bool = False
    """Use synthetic speakers although FSDD may be there."""
    crowd: int = 0
    """Synthetic speakers to train on besides: they say the digits too, and are never tested on."""
    shuffled: bool = False
    """Give each split's pairs each other's images: the control that nothing can be learnt from."""


def build(config: MixConfig, out: Path) -> None:
    """Build the mix and write it, labels in a file of their own, to the folder `out`."""
    with alone(out):
        _build(_recordings(config), config, out)


def default(config: MixConfig) -> Path:
    """The folder of this mix in the cache, built where it is not there yet, by one process.

    Raises:
        UserError: it is not there, and the cache cannot be written.
    """
    spoken = _recordings(config)
    crowd = f"crowd{speech.crowd(config.crowd).origin.sha256[:8]}" if config.crowd else ""
    parts = (
        spoken.origin.sha256[:8], config.split, config.validation or "", str(config.seed),
        crowd, "shuffled" if config.shuffled else "",
    )  # fmt: skip
    name = re.sub(r"[^\w-]", "-", "-".join(part for part in parts if part))
    folder = cache_directory() / "pairs" / f"mix-{name}"
    if (folder / storage.HEADER).is_file():
        return folder
    try:
        with in_turn(folder, "building this mix"):
            if not (folder / storage.HEADER).is_file():
                _build(spoken, config, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); {ELSEWHERE}, or build the mix "
            "elsewhere (`synesthete pairs mix --out DIR`) and name it with --pairs DIR"
        ) from error
    return folder


def _recordings(config: MixConfig) -> Recordings:
    """FSDD, or synthetic speakers where it cannot be had; the console is told which."""
    if config.synthetic:
        return _told(speech.synthesise())
    try:
        return _told(fsdd.load(config.data, other_speakers=config.other_speakers))
    except Unavailable as error:
        console.print(
            "SYNTHETIC SPEAKERS: FSDD could not be had, so this runs on synthesised voices; its "
            "numbers say nothing about FSDD.",
            style="bold yellow",
            soft_wrap=True,
        )
        console.print(str(error), style="dim", highlight=False, markup=False)
        return _told(speech.synthesise())


def _told(found: Found) -> Found:
    """Say where data came from."""
    at = found.origin
    console.print(f"{at.name}: {at.place}, {at.detail}", highlight=False, soft_wrap=True)
    return found


def _build(spoken: Recordings, config: MixConfig, out: Path) -> None:
    alignment, names = mix.build(
        spoken,
        _told(mnist.load(config.data)),
        split=config.split,
        seed=config.seed,
        validation=config.validation,
        crowd=_told(speech.crowd(config.crowd)) if config.crowd else None,
    )
    if config.shuffled:
        alignment = mix.shuffled(alignment, config.seed)
    storage.save(alignment, out, beside=names.save)


def load(folder: Path, splits: tuple[str, ...] | None = None) -> tuple[Alignment, Labels]:
    """An alignment and, for judging and reporting, its labels."""
    return storage.load(folder, splits), labels.load(folder)


def to_learn(place: Path | str) -> tuple[Alignment | PairShards, dict[str, Any]]:
    """The train side of what a folder or URL holds, to load or to stream, and the facts of it.

    Raises:
        UserError: it holds neither an alignment nor pair shards of the train side.
    """
    if not pair_shards.is_there(place):
        return storage.load(place, ("train",)), facts(Path(place))
    pairs = pair_shards.read(place)
    if pairs.split != "train":
        raise UserError(f"{place}: pair shards of the split '{pairs.split}', wanted 'train'")
    told = _facts(pairs.provenance, pairs.counts(), pairs.digest())
    return pairs, {**told, "alignment": pairs.alignment}


def check_same(folder: Path, trained_on: Mapping[str, Any], *, asked: bool) -> None:
    """See that a model is scored on the split that it was trained on.

    On another one, recordings of its training may stand among the test: refused, unless the user
    `asked` for just that alignment; then the console is told. A mix is the same with and without a
    crowd, which is heard in training alone.

    Raises:
        UserError: `folder` was not asked for and is another alignment.
    """
    header = storage.read_header(folder)
    if header["digest"] in (trained_on.get("digest"), trained_on.get("alignment")):
        return
    if (mixed := _mixed(header["provenance"])) is not None and mixed == _mixed(trained_on):
        return
    told = "this model was trained on another alignment than"
    if not asked:
        raise UserError(f"{told} the default mix; name it with --pairs DIR")
    console.print(
        f"{told} {folder}: what is test here may have been heard in training",
        style="yellow",
        soft_wrap=True,
    )


def _mixed(provenance: Mapping[str, Any]) -> list[Any] | None:
    """What decides the sides of a mix and the pairs of all but train; None: it is no mix."""
    if provenance.get("recipe") != "mix":
        return None
    own = [provenance.get(key) for key in ("split", "validation", "seed", "shuffled")]
    try:
        return [*own, *(provenance[key]["sha256"] for key in ("audio", "images"))]
    except (KeyError, TypeError):
        return None


def facts(folder: Path) -> dict[str, Any]:
    """What a model card and a report tell about the data: provenance, counts, digest."""
    header = storage.read_header(folder)
    return _facts(header["provenance"], header["counts"], header["digest"])


def _facts(provenance: Mapping[str, Any], counts: Mapping[str, Any], digest: str) -> dict[str, Any]:
    origins = [provenance[key] for key in ("audio", "crowd", "images") if key in provenance]
    return {**provenance, "origins": origins, "counts": counts, "digest": digest}
