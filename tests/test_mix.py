"""The deck's mix on stand-ins with the right names: its numbers, its splits, and no label in it."""

import io
import os
import re
import tarfile
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from synesthete import material
from synesthete.data import audio, fsdd, mix, storage
from synesthete.data.alignment import Alignment, LeakageError
from synesthete.data.content import content_ids, opaque
from synesthete.data.fsdd import Recording, Recordings
from synesthete.data.labels import Labels
from synesthete.data.mix import MixError
from synesthete.data.mnist import Mnist
from synesthete.data.sources import Origin
from synesthete.errors import UserError

DECK = ("jackson", "nicolas", "theo", "yweweler")
REAL = os.environ.get("SYNESTHETE_DATA")


def origin(name: str) -> Origin:
    return Origin(name, "synthesised", "a test", "0" * 64, False, ("made up",))


def recordings(speakers: tuple[str, ...] = DECK, takes: int = 50) -> Recordings:
    """Noise of 0.1 s, each its own, under the deck's names."""
    rng = np.random.default_rng(0)
    items = []
    for digit, speaker, index in product(range(10), speakers, range(takes)):
        file = io.BytesIO()
        noise = rng.integers(-9_000, 9_000, 800).astype(np.int16)
        soundfile.write(file, noise, audio.RATE, format="WAV")
        name = f"{digit}_{speaker}_{index}"
        items.append(Recording(name, digit, speaker, index, file.getvalue(), False))
    return Recordings(tuple(sorted(items, key=lambda i: i.name)), origin("noise"), True)


def digits(train: int = 120, test: int = 40) -> Mnist:
    """Random images of 4x4 pixels, each its own, in MNIST's layout."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (train + test, 4, 4)).astype(np.uint8)
    named = rng.integers(0, 10, train + test).astype(np.uint8)
    parts = (images[:train], named[:train], images[train:], named[train:])
    return Mnist(*parts, origin("pixels"))


@cache
def small() -> tuple[Recordings, Mnist]:
    return recordings(("annabel", "bobby", "cyril"), takes=12), digits()


@cache
def deck() -> tuple[Recordings, Mnist, Alignment, Labels]:
    spoken, seen = recordings(), digits(60_000, 10_000)
    return spoken, seen, *mix.build(spoken, seen)


def names_of(alignment: Alignment, spoken: Recordings) -> list[str]:
    """The name of each of the alignment's recordings, found again by content."""
    named = names_by_id(spoken)
    return [named[key] for key in alignment.audio_ids]


@cache
def names_by_id(spoken: Recordings) -> dict[str, str]:
    waves = [audio.load(item.data, trim=False) for item in spoken.items]
    return dict(zip(content_ids(waves), (item.name for item in spoken.items), strict=True))


def test_the_mix_has_the_decks_numbers() -> None:
    *_, alignment, _ = deck()
    told = alignment.summary()["splits"]
    assert [*told] == ["train", "test"]
    numbers = [(told[s]["recordings"], told[s]["images"], told[s]["edges"]) for s in told]
    assert numbers == [(1_800, 60_000, 60_000), (200, 10_000, 10_000)]


def test_the_test_recordings_are_the_first_200_of_the_one_permutation() -> None:
    spoken, _, alignment, _ = deck()
    files = sorted(f"{d}_{s}_{i}.wav" for d in range(10) for s in DECK for i in range(50))
    first = np.random.default_rng(0).permutation(2000)[:200]
    found = names_of(alignment.subset("test"), spoken)
    assert sorted(found) == sorted(files[row].removesuffix(".wav") for row in first)


def test_partners_are_drawn_uniformly_and_with_replacement() -> None:
    *_, alignment, labels = deck()
    train = alignment.subset("train")
    audio_classes, image_classes = labels.of(train)
    drawn = np.bincount(train.edges[:, 0], minlength=1_800)
    share = 1 / np.bincount(audio_classes)[audio_classes]
    images = np.bincount(image_classes)[audio_classes]
    deviation = (drawn - images * share) / np.sqrt(images * share * (1 - share))
    assert abs(deviation.mean()) < 0.1
    assert 0.9 < deviation.std() < 1.1  # multinomial: with equal shares it would be 0
    assert np.abs(deviation).max() < 6


def test_the_last_sixth_of_the_train_images_is_what_no_judge_saw() -> None:
    _, seen, alignment, labels = deck()
    assert labels.judge_unseen == {*content_ids(seen.train_images[50_000:])}
    assert len(labels.judge_unseen) == 10_000
    assert labels.judge_unseen < {*alignment.subset("train").image_ids}


def test_the_labels_are_the_digits_and_the_groups_the_speakers() -> None:
    spoken, seen, alignment, labels = deck()
    assert labels.classes == tuple("0123456789")
    images, named = (
        np.concatenate([seen.train_images, seen.test_images]),
        np.r_[seen.train_labels, seen.test_labels],
    )
    assert labels.images == dict(zip(content_ids(images), map(str, named), strict=True))
    for name, key, group in zip(
        names_of(alignment, spoken), alignment.audio_ids, alignment.audio_groups, strict=True
    ):
        assert name.startswith(f"{labels.audio[key]}_{labels.groups[group]}_")


protocols = st.sampled_from(
    ["random", "official", "speaker:annabel", "speaker:bobby", "speaker:cyril"]
)
validations = st.sampled_from([None, "random", "speaker:bobby"])


@settings(max_examples=15)
@given(split=protocols, seed=st.integers(0, 2**31), validation=validations)
def test_any_split_keeps_recordings_apart_and_pairs_each_image_once_within_its_class(
    split: str, seed: int, validation: str | None
) -> None:
    spoken, seen = small()
    if validation == "speaker:bobby" and split not in ("speaker:annabel", "speaker:cyril"):
        validation = None
    try:
        alignment, labels = mix.build(spoken, seen, split=split, seed=seed, validation=validation)
    except MixError as error:  # a tenth of the train part may lack a digit
        assert re.match(r"no validation recording of", str(error))  # noqa: PT017
        return
    heard = names_of(alignment, spoken)
    assert sorted(heard) == [item.name for item in spoken.items]
    assert sorted(alignment.edges[:, 1]) == [*range(160)]
    audio_classes, image_classes = labels.of(alignment)
    assert (audio_classes[alignment.edges[:, 0]] == image_classes[alignment.edges[:, 1]]).all()
    for audio_row, image_row in alignment.edges:
        assert alignment.audio_splits[audio_row] == alignment.image_splits[image_row]
    assert ("validation" in alignment.image_splits) == (validation is not None)
    for name, part in zip(heard, alignment.audio_splits, strict=True):
        _, speaker, index = name.split("_")
        if split == "official":
            assert (part == "test") == (int(index) < 5)
        elif split.startswith("speaker:"):
            assert (part == "test") == (split == f"speaker:{speaker}")
        if validation == "speaker:bobby":
            assert (part == "validation") == (speaker == "bobby")


def test_a_seed_draws_other_pairs_but_never_another_test_set() -> None:
    spoken, seen = small()
    first, again, other = (mix.build(spoken, seen, seed=seed)[0] for seed in (0, 0, 1))
    assert first.digest() == again.digest()
    assert first.audio_splits == other.audio_splits
    assert (first.edges != other.edges).any()


@pytest.mark.parametrize("validation", [None, "random"])
def test_the_control_gives_each_split_s_edges_each_other_s_images(validation: str | None) -> None:
    _, _, plain, labels = deck()
    if validation:
        plain, labels = mix.build(*deck()[:2], validation=validation)
    control = mix.shuffled(plain, 7)
    for field in ("audio_ids", "audio_splits", "image_ids", "image_splits", "audio_groups"):
        assert getattr(control, field) == getattr(plain, field)
    control.check_leakage()  # no edge joins two splits
    for column in (0, 1):
        before, after = (np.sort(a.edges[:, column]) for a in (plain, control))
        np.testing.assert_array_equal(before, after)
    audio_classes, image_classes = labels.of(control)
    alike = audio_classes[control.edges[:, 0]] == image_classes[control.edges[:, 1]]
    assert alike.mean() < 0.2  # a tenth, by chance; 1 before
    assert control.provenance == {**plain.provenance, "shuffled": True, "shuffle_seed": 7}


def test_the_control_is_drawn_by_its_seed_and_has_a_digest_of_its_own() -> None:
    plain, _ = mix.build(*small())
    first, again, other = (mix.shuffled(plain, seed) for seed in (0, 0, 1))
    assert first.digest() == again.digest()
    assert len({plain.digest(), first.digest(), other.digest()}) == 3
    np.testing.assert_array_equal(first.edges, first.edges[np.lexsort(first.edges.T[::-1])])


def test_validation_takes_from_the_train_part_alone() -> None:
    spoken, seen, whole, _ = deck()
    tuned, labels = mix.build(spoken, seen, validation="random", seed=3)
    for ids, plain, split in (
        (whole.audio_ids, whole.audio_splits, tuned.audio_splits),
        (whole.image_ids, whole.image_splits, tuned.image_splits),
    ):
        before, after = (dict(zip(ids, s, strict=True)) for s in (plain, split))
        assert {(before[key], after[key]) for key in ids} == {
            ("train", "train"),
            ("train", "validation"),
            ("test", "test"),
        }
    held = tuned.subset("validation")
    assert (len(held.audio_ids), len(held.image_ids), len(held.edges)) == (180, 10_000, 10_000)
    assert {*held.image_ids} == labels.judge_unseen
    assert len(tuned.subset("train").edges) == 50_000
    other = mix.split_recordings(spoken.items, "random", "random", seed=4)
    mine = mix.split_recordings(spoken.items, "random", "random", seed=3)
    assert ((other == "test") == (mine == "test")).all()
    assert (other != mine).any()


def test_a_held_out_speaker_is_promised_and_the_promise_checked() -> None:
    spoken, seen = small()
    alignment, _ = mix.build(spoken, seen, split="speaker:annabel", validation="speaker:cyril")
    assert alignment.provenance["held_out_groups"] == [opaque("annabel"), opaque("cyril")]
    assert {*alignment.subset("train").audio_groups} == {opaque("bobby")}
    mixed = mix.build(spoken, seen)[0]
    promise = {**mixed.provenance, "held_out_groups": [opaque("annabel")]}
    broken = Alignment(**{**vars(mixed), "provenance": promise})
    with pytest.raises(LeakageError, match=r"1 held-out group"):
        broken.check_leakage()


def test_one_recording_under_two_names_on_two_sides_is_a_leak() -> None:
    spoken, seen = small()
    items = list(spoken.items)
    official = {item.index: row for row, item in enumerate(items[:12])}
    items[official[0]] = Recording("0_annabel_0", 0, "annabel", 0, items[official[9]].data, False)
    with pytest.raises(LeakageError, match=r"1 recording\(s\)"):
        mix.build(Recordings(tuple(items), spoken.origin, True), seen, split="official")


@pytest.mark.parametrize(
    ("split", "validation", "message"),
    [
        ("halves", None, r"'halves'; there are random, official, speaker:annabel, speaker:bobby"),
        (
            "speaker:zoe",
            None,
            r"'speaker:zoe'; there are .*speaker:annabel, speaker:bobby, speaker:cyril",
        ),
        (
            "speaker:annabel",
            "speaker:annabel",
            r"'speaker:annabel'; there are .*speaker:bobby, speaker:cyril$",
        ),
        ("random", "speaker:annabel", r"needs a split by speaker too, not 'random'"),
        ("official", "official", r"no validation recording of \["),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(
    split: str, validation: str | None, message: str
) -> None:
    with pytest.raises(MixError, match=message):
        mix.build(*small(), split=split, validation=validation)


def strangers() -> Recordings:
    """Two speakers more, whose recordings are others than the small deck's."""
    items = tuple(
        Recording(
            i.name.replace(i.speaker, f"crowd-{i.speaker}"), i.digit, f"crowd-{i.speaker}",
            i.index, _reversed(i.data), False,
        )
        for i in recordings(("xenia", "yves"), takes=3).items
    )  # fmt: skip
    return Recordings(items, origin("crowd"), True)


def _reversed(data: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, samples[::-1], rate, format="WAV")
    return file.getvalue()


def pairs_of(side: Alignment) -> list[tuple[str, str]]:
    """(recording, image) of each pair, by their ids."""
    return [(side.audio_ids[a], side.image_ids[i]) for a, i in side.edges.tolist()]


@pytest.mark.parametrize("split", ["random", "speaker:bobby", "crowd"])
def test_a_crowd_is_trained_on_and_never_tested(split: str) -> None:
    spoken, seen = small()
    alignment, labels = mix.build(spoken, seen, split=split, crowd=strangers())
    crowd = {opaque(name) for name in ("crowd-xenia", "crowd-yves")}
    home = dict(zip(alignment.audio_ids, alignment.audio_splits, strict=True))
    theirs = [
        home[key]
        for key, group in zip(alignment.audio_ids, alignment.audio_groups, strict=True)
        if group in crowd
    ]
    assert theirs == ["train"] * 60
    test = [key for key, side in home.items() if side == "test"]
    if split == "crowd":
        assert len(test) == len(spoken.items)
        assert alignment.provenance["held_out_groups"] == "all"
    else:
        plain, _ = mix.build(spoken, seen, split=split)
        before = dict(zip(plain.audio_ids, plain.audio_splits, strict=True))
        assert sorted(test) == sorted(key for key, side in before.items() if side == "test")
        assert pairs_of(alignment.subset("test")) == pairs_of(plain.subset("test"))
    assert alignment.provenance["crowd_speakers"] == 2
    assert alignment.provenance["audio_source"] == "noise"
    assert len(labels.audio) == len(spoken.items) + 60


def test_a_model_is_scored_on_its_own_mix_with_or_without_the_crowd_that_taught_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken, seen = small()
    for name, options in {
        "plain": {}, "crowd": {"crowd": strangers()}, "other": {"split": "speaker:bobby"},
    }.items():  # fmt: skip
        alignment, labels = mix.build(spoken, seen, **options)  # type: ignore[arg-type]
        storage.save(alignment, tmp_path / name, beside=labels.save)
    taught = material.facts(tmp_path / "crowd")
    for name in ("crowd", "plain"):
        material.check_same(tmp_path / name, taught, asked=False)
    with pytest.raises(UserError, match="trained on another alignment than the default mix"):
        material.check_same(tmp_path / "other", taught, asked=False)
    assert not capsys.readouterr().err
    material.check_same(tmp_path / "other", taught, asked=True)
    assert "may have been heard in training" in capsys.readouterr().err


def test_without_a_crowd_the_split_of_that_name_is_refused() -> None:
    with pytest.raises(MixError, match="no way to hold out 'crowd'"):
        mix.build(*small(), split="crowd")


def test_a_digit_that_nobody_says_is_named() -> None:
    spoken, seen = small()
    few = tuple(
        item for item in spoken.items if not (item.digit == 7 and item.speaker == "annabel")
    )
    with pytest.raises(MixError, match=r"no test recording of \[7\]"):
        mix.build(Recordings(few, spoken.origin, True), seen, split="speaker:annabel")


def test_a_recording_that_is_no_sound_is_named() -> None:
    spoken, seen = small()
    broken = Recording("3_annabel_0", 3, "annabel", 0, b"RIFF?", False)
    items = tuple(broken if item.name == broken.name else item for item in spoken.items)
    with pytest.raises(MixError, match=r"recording 3_annabel_0: .*not a sound file"):
        mix.build(Recordings(items, spoken.origin, True), seen)


def test_provenance_says_what_was_mixed_and_how(tmp_path: Path) -> None:
    alignment, labels = mix.build(*small(), split="official", seed=5)
    storage.save(alignment, tmp_path / "pairs", beside=labels.save)
    told = storage.load(tmp_path / "pairs").provenance
    assert told["audio"] == {**vars(origin("noise")), "notes": ["made up"]}
    assert told["images"]["name"] == "pixels"
    assert (told["audio_source"], told["audio_synthetic"]) == ("noise", True)
    assert (told["split"], told["validation"], told["seed"]) == ("official", None, 5)


def test_what_training_reads_holds_no_label_and_no_file_name(tmp_path: Path) -> None:
    spoken, seen = small()
    alignment, labels = mix.build(spoken, seen)
    storage.save(alignment, tmp_path / "pairs")
    assert not (tmp_path / "pairs" / "labels.parquet").exists()
    nodes = pq.read_table(tmp_path / "pairs" / "nodes.parquet")
    edges = pq.read_table(tmp_path / "pairs" / "edges.parquet")
    words = {"audio", "image", "train", "test", ""}
    for column in (c for table in (nodes, edges) for c in table.columns if c.type == "string"):
        opaque_ids = {*column.to_pylist()} - words
        assert all(re.fullmatch("[0-9a-f]{16}", key) for key in opaque_ids)
    for path in (tmp_path / "pairs").glob("*/*.tar"):
        with tarfile.open(path) as tar:
            assert all(re.fullmatch(r"[0-9a-f]{16}\.(flac|png)", name) for name in tar.getnames())
    secrets = {*labels.groups.values(), *(item.name for item in spoken.items)}
    for path in (p for p in (tmp_path / "pairs").rglob("*") if p.is_file()):
        assert not [secret for secret in secrets if secret.encode() in path.read_bytes()]


def test_the_order_of_nodes_tells_nothing_of_the_class() -> None:
    *_, alignment, labels = deck()
    for classes in labels.of(alignment):
        followers = (classes[1:] == classes[:-1]).mean()
        assert abs(followers - 0.1) < 6 * np.sqrt(0.1 * 0.9 / len(classes))


@pytest.mark.skipif(REAL is None, reason="SYNESTHETE_DATA names no directory with FSDD")
def test_real_recordings_survive_the_mix_and_the_disk(tmp_path: Path) -> None:
    whole = fsdd.load(cache=tmp_path / "cache")
    items = tuple(item for item in whole.items if item.index < 8)
    spoken = Recordings(items, whole.origin, False)
    alignment, labels = mix.build(spoken, digits(), split="official")
    storage.save(alignment, tmp_path / "pairs")
    stored = storage.load(tmp_path / "pairs")
    data = {item.name: item.data for item in items}
    for key, name, wave, kept in zip(
        alignment.audio_ids,
        names_of(alignment, spoken),
        alignment.waveforms,
        stored.waveforms,
        strict=True,
    ):
        assert name.startswith(labels.audio[key])
        assert (kept == wave).all()
        original, _ = soundfile.read(io.BytesIO(data[name]), dtype="float64")
        error = 32_768 * (kept - (original - original.mean()))  # in 16-bit steps
        assert np.abs(error).max() < 0.51
