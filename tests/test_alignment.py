"""The graph: what it accepts, how it is grouped and split, and which leaks it finds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synesthete.data.alignment import Alignment, AlignmentError, LeakageError, assemble
from synesthete.data.content import from_16_bit, to_16_bit

SPLIT_NAMES = np.array(["train", "validation", "test"])


def random_alignment(
    seed: int = 0,
    recordings: int = 7,
    images: int = 12,
    shape: tuple[int, int, int] = (1, 5, 4),
    edges: int = 30,
    provenance: Mapping[str, Any] | None = None,
) -> Alignment:
    """Nodes in three splits in turn, edges anywhere within a split."""
    rng = np.random.default_rng(seed)
    audio_splits = SPLIT_NAMES[np.arange(recordings) % 3]
    image_splits = SPLIT_NAMES[np.arange(images) % 3]
    ends = np.stack(
        [rng.integers(recordings, size=edges), rng.integers(images, size=edges)], axis=1
    )
    ends = ends[audio_splits[ends[:, 0]] == image_splits[ends[:, 1]]]
    return assemble(
        waveforms=[rng.uniform(-1, 1, rng.integers(1, 50)) for _ in range(recordings)],
        audio_groups=[f"group{row % 2}" for row in range(recordings)],
        audio_splits=audio_splits.tolist(),
        images=rng.integers(0, 256, (images, *shape)).astype(np.uint8),
        image_groups=[""] * images,
        image_splits=image_splits.tolist(),
        edges=ends,
        rate=8_000,
        provenance=provenance or {},
    )[0]


def naive_groups(alignment: Alignment) -> dict[int, list[npt.NDArray[np.uint8]]]:
    partners: dict[int, list[npt.NDArray[np.uint8]]] = {}
    for audio, image in alignment.edges:
        partners.setdefault(int(audio), []).append(alignment.images[image])
    return partners


@given(
    seed=st.integers(0, 2**32 - 1),
    recordings=st.integers(1, 9),
    images=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    edges=st.integers(0, 60),
)
def test_grouped_equals_a_loop_over_edges(
    seed: int, recordings: int, images: int, channels: int, edges: int
) -> None:
    alignment = random_alignment(seed, recordings, images, (channels, 3, 2), edges)
    expected = naive_groups(alignment)
    grouped = alignment.grouped()
    assert grouped.audio.tolist() == sorted(expected)
    assert grouped.mean_image.dtype == grouped.weight.dtype == np.float32
    assert grouped.mean_image.shape == (len(expected), channels, 3, 2)
    for place, row in enumerate(grouped.audio.tolist()):
        mean = np.mean(np.array(expected[row], dtype=np.float64) / 255, axis=0)
        np.testing.assert_allclose(grouped.mean_image[place], mean, rtol=0, atol=6e-8)
        share = len(expected[row]) * len(expected) / len(alignment.edges)
        assert grouped.weight[place] == pytest.approx(share, rel=1e-6)


def test_a_mean_image_of_very_many_partners_does_not_overflow() -> None:
    alignment = random_alignment(recordings=1, images=1, edges=1)
    many = replace(
        alignment,
        images=np.full((1, 1, 2, 2), 255, np.uint8),
        edges=np.zeros((70_000, 2), np.int64),
    )
    assert many.grouped().mean_image.tolist() == [[[[1, 1], [1, 1]]]]


def test_the_weighted_grouped_loss_is_the_mean_pair_loss_up_to_a_constant() -> None:
    alignment = random_alignment(edges=200)
    grouped = alignment.grouped()
    rng = np.random.default_rng(1)
    predictions = rng.uniform(0, 1, (2, len(alignment.audio_ids), 1, 5, 4))

    def pairs(predicted: npt.NDArray[np.float64]) -> float:
        audio, image = alignment.edges.T
        return float(((predicted[audio] - alignment.images[image] / 255) ** 2).mean())

    def groups(predicted: npt.NDArray[np.float64]) -> float:
        errors = (predicted[grouped.audio] - grouped.mean_image) ** 2
        return float((grouped.weight[:, None, None, None] * errors).mean())

    first, second = predictions
    assert pairs(first) - groups(first) == pytest.approx(pairs(second) - groups(second), abs=1e-7)
    assert pairs(first) - groups(first) > 0.01


@given(seed=st.integers(0, 2**32 - 1), edges=st.integers(0, 60))
def test_the_splits_divide_nodes_and_edges_among_them(seed: int, edges: int) -> None:
    whole = random_alignment(seed, edges=edges)
    parts = [whole.subset(name) for name in SPLIT_NAMES]
    assert sorted(i for p in parts for i in p.audio_ids) == sorted(whole.audio_ids)
    assert sorted(i for p in parts for i in p.image_ids) == sorted(whole.image_ids)

    def named(part: Alignment) -> list[tuple[bytes, bytes]]:
        return [(part.waveforms[a].tobytes(), part.images[i].tobytes()) for a, i in part.edges]

    assert sorted(edge for part in parts for edge in named(part)) == sorted(named(whole))
    for name, part in zip(SPLIT_NAMES, parts, strict=True):
        assert {*part.audio_splits, *part.image_splits} <= {str(name)}
        assert part.subset(str(name)).digest() == part.digest()


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AlignmentError, match=r"no split .dev.; .* train, validation, test"):
        random_alignment().subset("dev")


@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_in_which_items_come_leaves_no_trace(seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = [rng.uniform(-1, 1, 20) for _ in range(6)]
    images = rng.integers(0, 256, (8, 1, 3, 3)).astype(np.uint8)
    edges = np.stack([rng.integers(6, size=8), np.arange(8)], axis=1)
    digests = set()
    for _ in range(3):
        audio, image = rng.permutation(6), rng.permutation(8)
        built, audio_ids, image_ids = assemble(
            waveforms=[waves[row] for row in audio],
            audio_groups=[f"g{row}" for row in audio],
            audio_splits=["train"] * 6,
            images=images[image],
            image_groups=[""] * 8,
            image_splits=["train"] * 8,
            edges=rng.permutation(
                np.stack([np.argsort(audio)[edges[:, 0]], np.argsort(image)[edges[:, 1]]], axis=1)
            ),
            rate=8_000,
            provenance={},
        )
        digests.add(built.digest())
        assert list(built.audio_ids) == sorted(audio_ids)
        assert list(built.image_ids) == sorted(image_ids)
        where = built.audio_ids.index(audio_ids[0])
        assert (built.waveforms[where] == from_16_bit(to_16_bit(waves[audio[0]]))).all()
    assert len(digests) == 1


def test_copies_of_one_content_have_ids_of_their_own() -> None:
    images = np.repeat(np.arange(3, dtype=np.uint8), 3).reshape(9, 1, 1, 1)

    def build() -> Alignment:
        return assemble(
            waveforms=[np.zeros(4)] * 2,
            audio_groups=["", ""],
            audio_splits=["train"] * 2,
            images=images,
            image_groups=[""] * 9,
            image_splits=["train"] * 9,
            edges=np.zeros((0, 2), np.int64),
            rate=8_000,
            provenance={},
        )[0]

    assert len({*build().image_ids}) == 9
    assert build().image_ids == build().image_ids
    build().check_leakage()


def test_the_digest_follows_every_part_of_the_content() -> None:
    base = random_alignment()
    louder = tuple(wave * np.float32(0.5) for wave in base.waveforms)
    variants = [
        base,
        replace(base, waveforms=louder),
        replace(base, images=255 - base.images),
        replace(base, edges=base.edges[1:]),
        replace(base, rate=16_000),
        replace(base, audio_groups=("",) * len(base.audio_ids)),
        replace(base, image_splits=("train",) * len(base.image_ids)),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)


def test_a_clean_alignment_passes_the_leakage_check() -> None:
    random_alignment().check_leakage()


def test_a_recording_on_two_sides_is_a_leak_whatever_its_id() -> None:
    base = random_alignment()
    first = base.audio_splits.index("train")
    other = base.audio_splits.index("test")
    waves = list(base.waveforms)
    waves[other] = waves[first]
    with pytest.raises(LeakageError, match=r"1 recording\(s\) in more than one.*test, train"):
        replace(base, waveforms=tuple(waves)).check_leakage()


def test_an_image_on_two_sides_is_a_leak() -> None:
    base = random_alignment()
    images = base.images.copy()
    images[[row for row, split in enumerate(base.image_splits) if split != "train"][:5]] = 7
    with pytest.raises(LeakageError, match=r"1 image\(s\) in more than one split"):
        replace(base, images=images).check_leakage()


def test_an_edge_between_splits_is_a_leak() -> None:
    base = random_alignment()
    across = [base.audio_splits.index("test"), base.image_splits.index("train")]
    with pytest.raises(LeakageError, match=r"1 edge\(s\) join two splits: test-train"):
        replace(base, edges=np.vstack([base.edges, across])).check_leakage()


@pytest.mark.parametrize("promised", [["group1"], "all"])
def test_a_held_out_group_on_two_sides_is_a_leak(promised: list[str] | str) -> None:
    leaky = random_alignment(provenance={"held_out_groups": promised})
    with pytest.raises(LeakageError, match=r"held-out group\(s\) in more than one split.*group1"):
        leaky.check_leakage()


def test_a_held_out_video_on_two_sides_is_a_leak_though_one_side_has_only_its_image() -> None:
    base = random_alignment(provenance={"held_out_groups": "all"})
    audio = ["video" if split == "train" else "" for split in base.audio_splits]
    image = ["video" if split == "test" else "" for split in base.image_splits]
    apart = replace(base, audio_groups=tuple(audio), image_groups=("",) * len(image))
    apart.check_leakage()
    with pytest.raises(LeakageError, match=r"1 held-out group\(s\).*video \(test, train\)"):
        replace(apart, image_groups=tuple(image)).check_leakage()


def test_every_leak_is_named_at_once() -> None:
    base = random_alignment(provenance={"held_out_groups": "all"})
    leaky = replace(base, images=base.images * 0)
    with pytest.raises(LeakageError, match=r"image.*; .*held-out group"):
        leaky.check_leakage()


def test_the_summary_counts_what_is_there() -> None:
    base = random_alignment()
    told = base.summary()
    assert told["rate"] == 8_000
    assert told["image_shape"] == [1, 5, 4]
    for name, part in told["splits"].items():
        subset = base.subset(name)
        partners = [int((subset.edges[:, 0] == row).sum()) for row in range(len(subset.audio_ids))]
        assert part["recordings"] == len(subset.audio_ids)
        assert part["images"] == len(subset.image_ids)
        assert part["edges"] == len(subset.edges)
        assert part["images_per_recording"]["max"] == max(partners)
        assert part["images_per_recording"]["mean"] == pytest.approx(np.mean(partners), abs=1e-4)
        seconds = [len(wave) / 8_000 for wave in subset.waveforms]
        assert part["seconds"]["median"] == pytest.approx(np.median(seconds), abs=1e-4)


def test_a_split_without_nodes_can_be_taken() -> None:
    base = random_alignment().subset("train")
    empty = base.subset("test")
    assert len(empty.audio_ids) == len(empty.edges) == len(empty.grouped().audio) == 0
    assert [*base.summary()["splits"]] == ["train"]


WAVE = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"audio_groups": ("",)}, "audio: ids, groups and splits differ in length"),
        ({"image_ids": ("x",) * 12}, "image: 11 ids occur twice"),
        ({"audio_splits": ("dev",) * 7}, r"unknown splits \['dev'\]"),
        ({"waveforms": (WAVE,) * 6}, r"\(6, 12\) waveforms and images for \(7, 12\) ids"),
        ({"waveforms": (WAVE.astype(np.float64),) * 7}, r"waveform 0 is float64\[3\]"),
        ({"waveforms": (WAVE[:0],) * 7}, r"waveform 0 is float32\[0\]"),
        ({"waveforms": (WAVE + np.nan,) * 7}, "waveform 0 is not finite"),
        ({"waveforms": (WAVE + 2,) * 7}, r"leaves -1\.\.1"),
        ({"images": np.zeros((12, 5, 4), np.uint8)}, r"uint8\[12, 5, 4\], wanted"),
        ({"images": np.zeros((12, 2, 5, 4), np.uint8)}, r"uint8\[12, 2, 5, 4\], wanted"),
        ({"images": np.zeros((12, 1, 5, 4), np.float32)}, r"float32\[12, 1, 5, 4\], wanted"),
        ({"images": np.zeros((11, 1, 5, 4), np.uint8)}, r"\(7, 11\) waveforms and images"),
        ({"edges": np.array([[7, 0]])}, "edges point outside the 7 recordings x 12 images"),
        ({"edges": np.array([[0, -1]])}, "edges point outside"),
        ({"edges": np.array([0, 1])}, r"edges are int64\[2\], wanted int64\[E, 2\]"),
        ({"edges": np.array([[0.0, 1.0]])}, "edges are float64"),
        ({"rate": 0}, "the sampling rate is 0 Hz"),
    ],
)
def test_wrong_shapes_and_ranges_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        replace(random_alignment(), **changed)
