"""Train a preset on an alignment, from nothing or from where it stopped, into a run folder."""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synesthete import artefact, config, distributed, family, torchrun
from synesthete.artefact import Artefact
from synesthete.config import Preset
from synesthete.data import batches, streaming
from synesthete.data.alignment import Alignment
from synesthete.data.augment import AugmentationConfig
from synesthete.data.pair_shards import PairShards
from synesthete.data.scenes import SceneConfig
from synesthete.errors import UserError
from synesthete.family import Family, Shapes
from synesthete.files import DRAFT, read_json, whole_file
from synesthete.locks import alone
from synesthete.train import Step, read_log, train

RUN = "run.json"
"""What a run folder is the run of; resuming checks it."""

CLIPS = 64
"""Recordings at a time that a trained model takes what it needs of."""

Batches = Callable[[int, int], Iterator[batches.Batch]]
"""A reader's share of the batches of a run: from a given step on, for a given reader."""


@dataclass(frozen=True)
class Source:
    """What a run learns from, whether it is in memory or streams."""

    rate: int
    """Of the recordings, Hz."""
    longest: int
    """Samples of the longest recording."""
    image_shape: tuple[int, int, int]
    """[C, H, W]."""
    batches: Callable[[Preset, int], Batches]
    """Those of a preset, fitted to the recordings, and a seed."""
    recordings: Callable[[Preset, int], Iterator[Tensor]]
    """As `Family.finish` takes them, of a preset and a seed."""


@distributed.company()
def run(
    preset: Preset,
    pairs: Alignment | PairShards,
    facts: Mapping[str, Any],
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    command: str = "",
    watch: Callable[[Step, Family], None] | None = None,
) -> Artefact:
    """Train `preset` on the train side of `pairs` in the folder `out`; the trained artefact.

    Labels play no part: only recordings, images and edges are read.

    Args:
        preset: the recipe; its front end is fitted to the recordings.
        pairs: an alignment, of which the split "train" is used and others may be absent, or pair
            shards, which are streamed.
        facts: what is known about the data, for the record (`digest` identifies it).
        out: the run folder.
        seed: of weights, batches and noise.
        resume: go on with the unfinished run in `out`, or return the finished one.
        command: what a user types to do this, for the record.
        watch: called after each step with the weights worth keeping so far.

    Raises:
        UserError: `out` holds another run, one that `resume` was not given for, or one that
            another process is at.
        Interrupted: asked to stop; `resume` goes on.
        Lost: another process of the run is gone; `resume` goes on.
    """
    with nullcontext() if torchrun.rank() else alone(out):
        return _run(preset, pairs, facts, out, seed, resume, command, watch)


def _run(
    preset: Preset,
    pairs: Alignment | PairShards,
    facts: Mapping[str, Any],
    out: Path,
    seed: int,
    resume: bool,
    command: str,
    watch: Callable[[Step, Family], None] | None,
) -> Artefact:
    """`run`, now that no other process is at `out`."""
    source = streamed(pairs) if isinstance(pairs, PairShards) else in_memory(pairs)
    preset = fitted(preset, source.rate, source.longest)
    identity = {"preset": preset.to_dict(), "seed": seed, "digest": facts.get("digest")}
    distributed.join()
    distributed.own(preset.training.readers)
    restarted = distributed.most(torchrun.restarted())
    distributed.first(lambda: _claim(out, identity, resume or bool(restarted)))
    if not (out / RUN).is_file():
        raise UserError(
            f"{out}: process {torchrun.rank()} does not see what the first one wrote there; "
            "choose an --out on a disk that all hosts share"
        )
    if (out / artefact.CONFIG).is_file():
        return artefact.read(str(out))
    cut = source.batches(preset, seed)
    front_end = preset.spectrogram
    shapes = Shapes((1, front_end.bands, front_end.columns), source.image_shape)
    torch.manual_seed(seed)
    model = family.from_preset(preset, shapes)
    trained = train(
        model, cut, preset.training, out,
        seed=seed, description=preset.name, watch=watch,
    )  # fmt: skip
    log = read_log(out)
    happened = {
        "seed": seed,
        "steps": preset.training.steps,
        "seconds": log[-1]["seconds"] if log else 0.0,
        "command": command,
        "finished": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    made = Artefact(trained, preset, shapes, happened, facts)

    def conclude() -> None:
        trained.finish(source.recordings(preset, seed))
        artefact.write(made, out)

    distributed.first(conclude)
    return artefact.read(str(out))


def in_memory(alignment: Alignment) -> Source:
    """The train side of an alignment; its spectrograms are made before the first batch."""

    def cut(preset: Preset, seed: int) -> Batches:
        side = alignment.subset("train")
        source = batches.samples(
            side, preset.spectrogram, preset.training.objective, preset.scene, seed
        )
        return stream(source, preset, seed)

    def recordings(preset: Preset, seed: int) -> Iterator[Tensor]:
        side = alignment.subset("train")
        order = np.random.default_rng((seed, 7)).permutation(np.unique(side.edges[:, 0]))
        for rows in np.split(order, range(CLIPS, len(order), CLIPS)):
            yield batches.spectrograms(side.recordings(rows), preset.spectrogram)

    longest = max(map(len, alignment.waveforms), default=0)
    channels, height, width = alignment.images.shape[1:]
    return Source(alignment.rate, longest, (channels, height, width), cut, recordings)


def streamed(pairs: PairShards) -> Source:
    """Pair shards, of which a few are in memory at a time."""

    def cut(preset: Preset, seed: int) -> Batches:
        training = preset.training
        recipe = streaming.Recipe(
            preset.spectrogram, preset.augmentation, preset.scene,
            training.objective, training.batch_size, training.images_per_recording,
        )  # fmt: skip
        return lambda start, reader: streaming.batches(
            pairs, recipe, seed, start, reader, training.readers
        )

    def recordings(preset: Preset, seed: int) -> Iterator[Tensor]:
        as_they_are = AugmentationConfig(), SceneConfig(), "grouped", CLIPS
        recipe = streaming.Recipe(preset.spectrogram, *as_they_are)
        rng, steps = np.random.default_rng((seed, 7)), -(-pairs.samples // CLIPS)
        while True:
            for step in rng.permutation(steps).tolist():  # anywhere: shards are no order of chance
                yield next(streaming.batches(pairs, recipe, seed, step)).plain

    return Source(pairs.rate, pairs.longest, pairs.image_shape, cut, recordings)


def fitted(preset: Preset, rate: int, longest: int) -> Preset:
    """The recipe with a front end for recordings at `rate` Hz of up to `longest` samples."""
    return replace(preset, spectrogram=preset.spectrogram.fitted(rate, longest / rate))


def stream(source: batches.Samples, preset: Preset, seed: int) -> Batches:
    """From a step on, a reader's share of the batches of a preset's training."""
    training = preset.training
    return lambda start, reader: batches.batches(
        source,
        training.batch_size,
        preset.augmentation,
        seed,
        start,
        reader,
        training.readers,
        training.images_per_recording,
    )


def _claim(out: Path, identity: dict[str, Any], resume: bool) -> None:
    """Make `out` the folder of this run, or refuse."""
    path = out / RUN
    identity = json.loads(json.dumps(identity))
    if not path.exists():
        if out.is_dir() and any(not file.name.startswith(DRAFT) for file in out.iterdir()):
            raise UserError(f"{out}: not empty and not a run; choose another --out")
        with whole_file(path) as draft:
            draft.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = read_json(path)
        found["preset"] = config.from_table(found["preset"]).to_dict()  # may lack newer keys
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: cannot be read ({error}); choose another --out") from error
    if found != identity:
        raise UserError(
            f"{out}: holds a run of another recipe, seed or data; choose another --out, or delete "
            "the folder to start over"
        )
    if not resume:
        raise UserError(f"{out}: this run was begun before; add --resume, or choose another --out")
