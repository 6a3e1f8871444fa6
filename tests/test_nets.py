"""The memory: what is recalled, by hand, and what training and drawing have of it."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synesthete import artefact, config, material, runs
from synesthete.cli import main
from synesthete.data import storage
from synesthete.data.alignment import Alignment
from synesthete.data.batches import spectrograms
from synesthete.data.labels import Labels
from synesthete.data.pair_shards import PairShards
from synesthete.errors import UserError
from synesthete.families import autoencoder, flow
from synesthete.generate import Model
from synesthete.nets import Memory

World = tuple[Alignment, Labels]


def filled(codes: Tensor, sharpness: float = 50.0, size: int | None = None) -> Memory:
    memory = Memory(len(codes) if size is None else size, codes.shape[1], sharpness)
    memory.fill(lambda heard: heard, torch.split(codes, 2))
    return memory


def test_recall_weighs_by_the_cosine_of_standardised_codes() -> None:
    """Means 1 and 2, deviations in the ratio of 1 to 2: written out for one code."""
    known = [[-1.0, -2.0], [1.0, 6.0], [3.0, 2.0]]
    memory = filled(torch.tensor(known), sharpness=3.0)
    (found,) = memory(torch.tensor([[2.0, 3.0]])).tolist()
    x, y = 0.5, 0.25
    weights = []
    for a, b in ((-1.0, -1.0), (0.0, 1.0), (1.0, 0.0)):
        cosine = (x * a + y * b) / math.hypot(x, y) / math.hypot(a, b)
        weights.append(math.exp(3 * cosine))
    for axis in range(2):
        mean = sum(w * code[axis] for w, code in zip(weights, known, strict=True)) / sum(weights)
        assert found[axis] == pytest.approx(mean, abs=1e-4)


def test_of_a_single_code_that_one_is_recalled() -> None:
    known = torch.randn(1, 4)
    torch.testing.assert_close(filled(known)(torch.randn(3, 4)), known.expand(3, -1))


def test_where_there_is_no_recording_it_says_so() -> None:
    with pytest.raises(ValueError, match="no recording"):
        Memory(2, 3, 1.0).fill(lambda heard: heard, [])


def test_what_lies_between_two_codes_becomes_the_likelier_one() -> None:
    torch.manual_seed(0)
    known = torch.randn(40, 16)
    between = 0.6 * known[3] + 0.4 * known[7]
    recalled = filled(known)(between[None])[0]
    assert float((recalled - known[3]).norm()) < 0.05 * float((between - known[3]).norm())
    assert float((filled(known)(known) - known).abs().max()) < 0.05


def test_while_nothing_is_remembered_yet_codes_are_left_alone() -> None:
    code = torch.randn(2, 3)
    assert torch.equal(Memory(4, 3, 50.0)(code), code)


def test_a_memory_of_nothing_leaves_codes_alone_and_adds_no_weights() -> None:
    memory, code = filled(torch.ones(4, 3), size=0), torch.randn(2, 3)
    assert memory(code) is code
    assert memory.state_dict() == {}


def test_it_takes_what_it_has_room_for_and_repeats_where_that_is_too_little() -> None:
    codes = torch.arange(10.0).view(5, 2)
    assert torch.equal(filled(codes, size=3).codes, codes[:3])  # type: ignore[arg-type]
    assert torch.equal(filled(codes, size=7).codes, codes[[0, 1, 2, 3, 4, 0, 1]])  # type: ignore[arg-type]
    endless = itertools.repeat(codes)
    memory = Memory(12, 2, 1.0)
    memory.fill(lambda heard: heard, endless)
    assert torch.equal(memory.codes, torch.cat([codes, codes, codes[:2]]))  # type: ignore[arg-type]


def learnt_from(world: Alignment) -> Alignment:
    """The recordings of the train side that an image meets there."""
    side = world.subset("train")
    return side.recordings(np.unique(side.edges[:, 0]))


def small(preset: str, memory: int) -> config.Preset:
    table = config.read(preset)
    table["training"] |= {"steps": 6, "batch_size": 8, "checkpoint_every": 4}
    table["training"].pop("first_phase_steps", None)
    table["scene"] |= {"copies": 1}
    table["model"] |= {"memory": memory}
    return config.from_table(table)


@pytest.mark.parametrize("preset", ["unseen", "flow"])
def test_training_is_the_same_and_the_codes_are_those_of_recordings_as_they_are(
    preset: str, toy_world: World, tmp_path: Path
) -> None:
    """Two runs that differ in the memory alone; each recording's code is in it, none twice."""
    side = learnt_from(toy_world[0])
    count = len(side.waveforms)
    with_it, without = (
        runs.run(small(preset, size), toy_world[0], {}, tmp_path / str(size)).model
        for size in (count, 0)
    )
    assert isinstance(with_it, autoencoder.Model | flow.Model)
    weights = with_it.state_dict()
    codes = weights.pop("memory.codes")
    assert all(torch.equal(weights[name], value) for name, value in without.state_dict().items())
    assert len(weights) == len(without.state_dict())
    with torch.no_grad():
        wanted = without._code(spectrograms(side, small(preset, 0).spectrogram))  # type: ignore[operator]
    apart = torch.cdist(codes, wanted, compute_mode="donot_use_mm_for_euclid_dist")
    assert sorted(apart.argmin(1).tolist()) == list(range(count))
    assert float(apart.amin(1).max()) < 1e-4
    assert apart.argmin(1).tolist() != list(range(count))  # in an order of chance


def test_of_shards_recordings_from_anywhere_are_remembered_as_they_are(
    toy_world: World, tmp_path: Path
) -> None:
    side = learnt_from(toy_world[0])
    storage.save(toy_world[0], tmp_path / "pairs")
    main(["pairs", "stream", str(tmp_path / "pairs"), "--out", str(tmp_path / "s"),
          "--megabytes", "0.05"])  # fmt: skip
    pairs, facts = material.to_learn(tmp_path / "s")
    assert isinstance(pairs, PairShards)
    model = runs.run(small("unseen", 60), pairs, facts, tmp_path / "run").model
    assert isinstance(model, autoencoder.Model)
    with torch.no_grad():
        wanted = model._code(spectrograms(side, small("unseen", 0).spectrogram))
    assert model.memory.codes is not None
    apart = torch.cdist(model.memory.codes, wanted, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(apart.amin(1).max()) < 1e-3
    rows = set(apart.argmin(1).tolist())
    assert len(rows) > 30
    assert min(rows) < len(wanted) // 4 < 3 * len(wanted) // 4 < max(rows)


def test_a_model_that_was_read_again_draws_the_same(toy_world: World, tmp_path: Path) -> None:
    held = runs.run(small("unseen", 16), toy_world[0], {}, tmp_path / "run")
    assert isinstance(held.model, autoencoder.Model)
    assert held.model.memory.codes.any()  # type: ignore[union-attr]
    artefact.write(held, tmp_path / "copy")
    again = artefact.read(str(tmp_path / "copy"))
    waves = list(toy_world[0].waveforms[:3])
    ours, theirs = (Model(one).draw(waves, 1) for one in (held, again))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("keys", [{"memory": -1}, {"memory": 100_000}, {"sharpness": -1.0}])
@pytest.mark.parametrize("preset", ["unseen", "flow"])
def test_sizes_that_no_memory_has_are_refused(
    preset: str, keys: dict[str, float], toy_world: World, tmp_path: Path
) -> None:
    table = config.read(preset)
    table["model"] |= keys
    with pytest.raises(UserError, match=f"model.{next(iter(keys))} is "):
        runs.run(config.from_table(table), toy_world[0], {}, tmp_path / "run")
