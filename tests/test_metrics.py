"""Metrics agree with references, closed forms and the exact binomial, and keep their symmetries."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import prdc as reference
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats
from sklearn.metrics import confusion_matrix
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from draws import correlated, few, rotation, seeds
from synesthete import metrics

Array = npt.NDArray[Any]


# Shares and their intervals


def binomial_intervals(recordings: int) -> list[tuple[float, float]]:
    """The interval for each number of all-right recordings among all-wrong ones."""
    rng = np.random.default_rng(1)
    ones = np.ones(recordings)
    return [
        metrics.interval((np.arange(recordings) < right).astype(float), ones, rng)
        for right in range(recordings + 1)
    ]


@pytest.mark.parametrize("recordings", [20, 100])
def test_the_interval_covers_a_known_binomial_as_often_as_it_says(recordings: int) -> None:
    low, high = np.array(binomial_intervals(recordings)).T
    truths = np.linspace(0.5, 0.995, 200)
    counts = stats.binom.pmf(np.arange(recordings + 1), recordings, truths[:, None])
    coverage = (counts * ((low <= truths[:, None]) & (truths[:, None] <= high))).sum(axis=1)
    assert coverage.min() > 0.89  # plain percentiles 0.86, Wilson's interval 0.85
    assert 0.94 < coverage.mean() < 0.97


def test_the_interval_is_near_the_exact_one_even_when_all_recordings_agree() -> None:
    for right, found in enumerate(binomial_intervals(100)):
        exact = stats.binomtest(right, 100).proportion_ci(0.95, "exact")
        assert found == pytest.approx((exact.low, exact.high), abs=0.02)
    assert found[0] < 0.98 < found[1] == 1


def test_the_interval_grows_monotonically_worse_with_each_failure() -> None:
    low, high = np.array(binomial_intervals(50)).T
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()


def test_pairs_of_one_recording_do_not_count_as_independent() -> None:
    """10,000 pairs on 200 recordings, each all right or all wrong, are 200 coins."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        recordings = rng.integers(200, size=10_000)
        right = (rng.random(200) < 0.937)[recordings]
        low, high = metrics.interval(*metrics.grouped_mean(right, recordings), rng, draws=400)
        hits += low <= 0.937 <= high
        assert high - low > 3 * 2 * 1.96 * math.sqrt(0.937 * 0.063 / 10_000)
    assert stats.binomtest(hits, 300, 0.95).pvalue > 1e-3


def test_the_interval_is_that_of_a_ratio_for_many_recordings_of_unequal_weight(
    rng: np.random.Generator,
) -> None:
    """Against the linearised variance of a ratio (Cochran 1977, section 6.3)."""
    means = rng.beta(4, 2, size=2_000)
    weights = 1 + 50 * (means < 0.5) * rng.random(2_000)  # frequent recordings do worse
    share = np.average(means, weights=weights)
    error = 1.96 * np.linalg.norm(weights * (means - share)) / weights.sum()
    found = metrics.interval(means, weights, rng)
    assert found == pytest.approx((share - error, share + error), abs=2e-3)


def test_a_wider_level_gives_a_wider_interval(rng: np.random.Generator) -> None:
    means, ones = rng.random(50), np.ones(50)
    narrow, wide = (metrics.interval(means, ones, rng, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@few
@given(seeds, st.integers(1, 30), st.integers(1, 5))
def test_grouped_means_and_weights_give_back_the_overall_mean(
    rng: np.random.Generator, n: int, training_seeds: int
) -> None:
    values, groups = rng.random((training_seeds, n)), rng.integers(6, size=n)
    means, weights = metrics.grouped_mean(values, groups)
    assert np.average(means, weights=weights) == pytest.approx(values.mean())
    assert weights.sum() == n
    order = rng.permutation(n)
    again = metrics.grouped_mean(values[:, order], groups[order])
    assert again[0] == pytest.approx(means)
    assert again[1] == pytest.approx(weights)


def test_training_seeds_are_averaged_before_recordings_are_resampled(
    rng: np.random.Generator,
) -> None:
    seeds_disagree = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    means, weights = metrics.grouped_mean(seeds_disagree, np.array(["b", "b", "a", "c"]))
    assert means.tolist() == [0.5, 0.5, 0.5]
    assert weights.tolist() == [1, 2, 1]
    assert metrics.share(seeds_disagree, np.arange(4), rng)["n"] == 4


def test_a_share_by_name_is_the_share_of_that_names_pairs(rng: np.random.Generator) -> None:
    right = np.array([1, 1, 0, 1, 0, 0], bool)
    recordings = np.array([0, 0, 1, 2, 3, 3])
    speakers = np.array(["theo", "theo", "theo", "jackson", "jackson", "jackson"])
    table = metrics.share_by(right, recordings, speakers, rng)
    assert list(table) == ["jackson", "theo"]
    assert table["theo"]["value"] == pytest.approx(2 / 3)
    assert table["theo"]["n"] == 2
    for row in table.values():
        assert row["ci95"][0] <= row["value"] <= row["ci95"][1]
    seeded = metrics.share_by(np.stack([right, ~right]), recordings, speakers, rng)
    assert seeded["theo"]["value"] == pytest.approx(0.5)


def test_consistency_counts_recordings_given_one_class_right_or_wrong() -> None:
    assert metrics.consistency(np.array([[3, 3, 3], [3, 3, 4], [7, 7, 7], [1, 2, 3]])) == 0.5


def test_confusion_is_that_of_sklearn(rng: np.random.Generator) -> None:
    wanted, read = rng.integers(10, size=(2, 500)).astype(np.uint8)
    expected = confusion_matrix(wanted, read, labels=range(10))
    assert (metrics.confusion(wanted, read, 10) == expected).all()


# Sets of features


class Identity(torch.nn.Module):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def torchmetrics_score(metric: Any, x: Array, y: Array) -> Any:
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    return metric.compute()


@pytest.mark.parametrize("n", [400, 40])
def test_frechet_distance_is_that_of_torchmetrics(rng: np.random.Generator, n: int) -> None:
    """With 40 rows in 84 dimensions the covariances are singular."""
    x, y = correlated(rng, n, 84), correlated(rng, n + 7, 84, shift=0.5)
    expected = float(torchmetrics_score(FrechetInceptionDistance(Identity(84)), x, y))
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


@few
@given(seeds, st.integers(1, 8))
def test_frechet_distance_has_its_closed_form_for_commuting_covariances(
    rng: np.random.Generator, d: int
) -> None:
    axes, (a, b), means = rotation(rng, d), rng.random((2, d)), rng.normal(size=(2, d))
    a[: d // 2] = 0  # singular
    found = metrics.frechet_from_moments(means[0], axes * a @ axes.T, means[1], axes * b @ axes.T)
    expected = np.square(means[0] - means[1]).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert found == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_takes_the_square_root_of_covariances_that_do_not_commute(
    rng: np.random.Generator,
) -> None:
    a, b = (np.cov(correlated(rng, 50, 5), rowvar=False) for _ in range(2))
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    zero = np.zeros(5)
    assert metrics.frechet_from_moments(zero, a, zero, b) == pytest.approx(expected)


@few
@given(seeds)
def test_frechet_distance_keeps_its_symmetries(rng: np.random.Generator) -> None:
    x, y = correlated(rng, 30, 6), correlated(rng, 25, 6, shift=1)
    distance = metrics.frechet_distance(x, y)
    turn, shift = rotation(rng, 6), rng.normal(size=6)
    assert metrics.frechet_distance(y, x) == pytest.approx(distance, rel=1e-6)
    assert metrics.frechet_distance(rng.permutation(x), y) == pytest.approx(distance, rel=1e-6)
    moved = metrics.frechet_distance(x @ turn + shift, y @ turn + shift)
    assert moved == pytest.approx(distance, rel=1e-6)
    assert metrics.frechet_distance(3 * x, 3 * y) == pytest.approx(9 * distance, rel=1e-6)
    assert metrics.frechet_distance(x, rng.permutation(x)) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(x, x + shift) == pytest.approx(shift @ shift, abs=1e-6)


def test_kid_is_the_unbiased_double_sum(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(9, 4)), rng.normal(0.3, 1, size=(9, 4))

    def kernel(u: Array, v: Array) -> float:
        return float((u @ v / 4 + 1) ** 3)

    others = [(i, j) for i in range(9) for j in range(9) if i != j]
    same = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in others) / len(others)
    expected = same - 2 * sum(kernel(u, v) for u in x for v in y) / 81
    assert metrics.kid(x, y, rng, subsets=3, subset_size=9) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_kid_is_that_of_torchmetrics(rng: np.random.Generator) -> None:
    x, y = correlated(rng, 60, 8), correlated(rng, 60, 8, shift=0.2)
    metric = KernelInceptionDistance(Identity(8), subsets=1, subset_size=60)
    expected = float(torchmetrics_score(metric, x, y)[0])
    found = metrics.kid(x, y, rng, subsets=1, subset_size=60)
    assert found == pytest.approx(expected, rel=1e-5)


def test_kid_averages_subsets_around_zero_for_equal_distributions(
    rng: np.random.Generator,
) -> None:
    x, y, z = rng.normal(size=(3, 2_000, 6)) + np.array([0, 0, 0.5])[:, None, None]
    nothing, something = (metrics.kid(x, other, rng, 40, 200) for other in (y, z))
    assert abs(nothing) < 0.05 * something


def reference_prdc(real: Array, fake: Array, k: int) -> dict[str, float]:
    return {name: float(v) for name, v in reference.compute_prdc(real, fake, k).items()}


@few
@given(seeds, st.integers(1, 5), st.sampled_from([0.0, 0.5, 3.0]))
def test_prdc_is_that_of_the_prdc_package(rng: np.random.Generator, k: int, shift: float) -> None:
    real, fake = rng.normal(size=(40, 3)), rng.normal(shift, 1, size=(30, 3))
    assert metrics.prdc(real, fake, k) == pytest.approx(reference_prdc(real, fake, k), abs=1e-12)


def test_prdc_is_the_same_over_several_blocks_and_far_from_the_origin(
    rng: np.random.Generator,
) -> None:
    real, fake = rng.normal(size=(1_300, 8)), 0.8 * rng.normal(size=(1_100, 8))
    expected = reference_prdc(real, fake, 5)
    assert metrics.prdc(real, fake) == expected
    assert metrics.prdc(real + 1e6, fake + 1e6) == expected


@few
@given(seeds)
def test_prdc_is_perfect_for_the_data_itself_and_keeps_its_symmetries(
    rng: np.random.Generator,
) -> None:
    x, y = rng.normal(size=(2, 30, 4))
    itself = metrics.prdc(x, rng.permutation(x))
    assert (itself["precision"], itself["recall"], itself["coverage"]) == (1, 1, 1)
    assert itself["density"] == pytest.approx(1, abs=1 / 5 + 1e-9)
    scores, turn = metrics.prdc(x, y), rotation(rng, 4)
    assert metrics.prdc(y, x)["precision"] == scores["recall"]
    assert metrics.prdc(rng.permutation(x) @ turn, rng.permutation(y) @ turn) == scores


# Diversity and memory


def judged(features: Array, wanted: Array, read: Array | None = None) -> metrics.Judged:
    return metrics.Judged(features, wanted, wanted if read is None else read)


@few
@given(seeds, st.floats(0.1, 3))
def test_diversity_is_the_factor_by_which_images_spread_around_their_class(
    rng: np.random.Generator, factor: float
) -> None:
    classes = np.arange(60) % 4
    features = rng.normal(size=(60, 5)) + 10 * classes[:, None]
    centres = np.stack([features[classes == name].mean(axis=0) for name in classes])
    spread = centres + factor * (features - centres)
    real = judged(features, classes)
    order, turn = rng.permutation(60), rotation(rng, 5)
    assert metrics.diversity_ratio(judged(spread, classes), real) == pytest.approx(factor)
    moved = judged((spread @ turn)[order], classes[order])
    assert metrics.diversity_ratio(moved, real) == pytest.approx(factor)


def test_archetypes_have_no_diversity_and_the_data_has_one(rng: np.random.Generator) -> None:
    classes = np.arange(40) % 10
    real = judged(rng.normal(size=(40, 3)), classes)
    assert metrics.diversity_ratio(real, real) == 1
    archetypes = judged(rng.normal(size=(10, 3))[classes], classes)
    assert metrics.diversity_ratio(archetypes, real) == pytest.approx(0, abs=1e-12)


def test_the_standard_deviation_is_the_root_of_the_total_unbiased_variance() -> None:
    real = judged(np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]), np.zeros(3, int))
    generated = judged(np.array([[5.0, 1.0], [5.0, 2.0]]), np.zeros(2, int))
    expected = math.sqrt(0.5) / math.sqrt(1 + 3)  # variances 0 + 1/2 over 1 + 3
    assert metrics.diversity_ratio(generated, real) == pytest.approx(expected)


def test_errors_do_not_count_as_diversity(rng: np.random.Generator) -> None:
    classes = np.arange(40) % 2
    real = judged(rng.normal(size=(40, 3)), classes)
    wild, read = real.features.copy(), classes.copy()
    wild[:10] *= 1_000
    read[:10] = 1 - classes[:10]
    kept = judged(real.features[10:], classes[10:])
    found = metrics.diversity_ratio(judged(wild, classes, read), real)
    assert found == pytest.approx(metrics.diversity_ratio(kept, real))


def test_classes_without_two_right_images_are_left_out(rng: np.random.Generator) -> None:
    classes = np.repeat([0, 1, 2], 10)
    features = rng.normal(size=(30, 3)) * (1 + classes[:, None])
    read = np.where((classes == 2) & (np.arange(30) > 20), 0, classes)  # one right image is left
    assert metrics.diversity_ratio(judged(features, classes, read), judged(features, classes)) == 1
    nothing = judged(features, classes, classes + 1)
    assert math.isnan(metrics.diversity_ratio(nothing, judged(features, classes)))
    still = judged(np.zeros((30, 3)), classes)
    assert math.isnan(metrics.diversity_ratio(judged(features, classes), still))


def test_diversity_within_recordings_leaves_out_what_lies_between_them(
    rng: np.random.Generator,
) -> None:
    recordings = np.repeat(np.arange(400), 16)
    classes = recordings % 2
    between, within = rng.normal(size=(400, 6))[recordings], rng.normal(size=(6_400, 6))
    real = judged(2 * rng.normal(size=(4_000, 6)), np.arange(4_000) % 2)
    generated = judged(between + within, classes)
    found = metrics.diversity_within_recording(generated, recordings, real)
    assert found == pytest.approx(0.5, abs=0.02)
    assert metrics.diversity_ratio(generated, real) == pytest.approx(math.sqrt(0.5), abs=0.03)
    still = metrics.diversity_within_recording(judged(between, classes), recordings, real)
    assert still == pytest.approx(0, abs=1e-12)
    single = metrics.diversity_within_recording(generated, np.arange(6_400), real)
    assert math.isnan(single)


def images(rng: np.random.Generator, n: int) -> Array:
    return rng.integers(256, size=(n, 6, 6), dtype=np.uint8)


def test_copies_of_train_images_are_memorised_and_the_data_scores_one_percent(
    rng: np.random.Generator,
) -> None:
    train, real, drawn = images(rng, 1_500), images(rng, 1_000), images(rng, 300)
    assert metrics.memorised_fraction(real, train, real) == pytest.approx(0.01)
    drawn[:75] = train[:75]
    found = metrics.memorised_fraction(drawn, train, real)
    assert 0.25 <= found < 0.25 + 0.05 * 0.75


def test_a_copy_is_not_memory_where_the_data_repeats_itself_as_closely(
    rng: np.random.Generator,
) -> None:
    train = images(rng, 50)
    assert metrics.memorised_fraction(train, train, train) == 0


def test_memory_is_judged_within_each_class(rng: np.random.Generator) -> None:
    """A copy of another class's train image is no copy of one's own."""
    train, real = images(rng, 400), images(rng, 400)
    classes = np.arange(400) % 4
    same = metrics.memorised_fraction(train, train, real, (classes, classes, classes))
    other = metrics.memorised_fraction(train, train, real, ((classes + 1) % 4, classes, classes))
    assert same == 1
    assert other < 0.05


def test_the_nearest_train_image_is_found_to_the_last_digit(rng: np.random.Generator) -> None:
    """Against a brute-force search in integers, over several blocks."""
    train, real, drawn = images(rng, 300), images(rng, 200), images(rng, 700)
    drawn[::2] = np.clip(train[np.arange(350) % 300].astype(int) + 1, 0, 255)

    def nearest(x: Array) -> Array:
        gaps = x.reshape(len(x), 1, -1).astype(int) - train.reshape(1, 300, -1)
        return np.asarray(np.sqrt(np.square(gaps).sum(axis=-1).min(axis=1)))

    expected = (nearest(drawn) < np.quantile(nearest(real), 0.01)).mean()
    assert metrics.memorised_fraction(drawn, train, real) == expected


# Errors

A, B, RNG = np.zeros((9, 3)), np.zeros((8, 4)), np.random.default_rng(0)
JUDGED = metrics.Judged(A, np.zeros(9), np.zeros(9))


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda: metrics.grouped_mean(A[:, 0], B[:, 0]), ["(9,)", "(8,)"]),
        (lambda: metrics.grouped_mean(A[:0, 0], A[:0, 0]), ["(0,)"]),
        (lambda: metrics.interval(A[:, 0], B[:, 0], RNG), ["(9,)", "(8,)"]),
        (lambda: metrics.share(A[:, 0], B[:, 0], RNG), ["(9,)", "(8,)"]),
        (lambda: metrics.share_by(A[:, 0], A[:, 0], B[:, 0], RNG), ["(9,)", "(8,)"]),
        (lambda: metrics.consistency(A[0]), ["(3,)"]),
        (lambda: metrics.confusion(A[:, 0], B[:, 0], 10), ["(9,)", "(8,)"]),
        (lambda: metrics.frechet_distance(A, B), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.frechet_distance(A, A[:1]), ["(1, 3)"]),
        (lambda: metrics.frechet_from_moments(A[0], A, A[0], A), ["(3,)", "(9, 3)"]),
        (lambda: metrics.kid(A, B, RNG), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.prdc(A, B), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.prdc(A, A[:5]), ["(9, 3)", "(5, 3)"]),
        (lambda: metrics.linear_cka(A, B), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.Judged(A, A[:, 0], B[:, 0]), ["(9, 3)", "(9,)", "(8,)"]),
        (lambda: metrics.diversity_within_recording(JUDGED, B[:, 0], JUDGED), ["(9, 3)", "(8,)"]),
        (lambda: metrics.memorised_fraction(A, A, B), ["(9, 3)", "(8, 4)"]),
        (
            lambda: metrics.memorised_fraction(A, A, A, (A[:, 0], A[:, 0], B[:, 0])),
            ["(9,)", "(8,)"],
        ),
        (lambda: metrics.recall_at(A, B, 1), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.mean_average_precision(A, B), ["(9, 3)", "(8, 4)"]),
        (lambda: metrics.ndcg_at(A, B, 1), ["(9, 3)", "(8, 4)"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(call: Callable[[], object], shapes: list[str]) -> None:
    with pytest.raises(ValueError, match=r"wanted|needs") as caught:
        call()
    for shape in shapes:
        assert shape in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.interval(np.array([1.5]), np.ones(1), RNG), "0..1"),
        (lambda: metrics.interval(np.array([math.nan]), np.ones(1), RNG), "0..1"),
        (lambda: metrics.interval(np.ones(1), np.zeros(1), RNG), "weights"),
        (lambda: metrics.confusion(np.array([10]), np.array([1]), 10), "0..9"),
        (lambda: metrics.confusion(np.array([1]), np.array([-1]), 10), "0..9"),
        (lambda: metrics.frechet_distance(A, A + math.nan), "NaN"),
        (lambda: metrics.kid(A, A, RNG, subset_size=1), "subsets"),
        (lambda: metrics.linear_cka(A, A), "same for every item"),
        (
            lambda: metrics.memorised_fraction(A, A, A, (np.arange(9), np.ones(9), np.ones(9))),
            "class 0: 0 train and 0 real",
        ),
        (lambda: metrics.ndcg_at(A, A, 1), "relevance"),
        (lambda: metrics.ndcg_at(A, A - 1, 1), "relevance"),
        (lambda: metrics.recall_at(A + math.inf, A + 1, 1), "infinity"),
    ],
)
def test_values_that_make_no_sense_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
