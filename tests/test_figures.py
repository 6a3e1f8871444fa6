"""Tests of the pictures: pixels where they should be, charts that say what their data say."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synesthete import figures
from synesthete.pixels import tile


def test_tiles_stand_in_reading_order() -> None:
    images = np.arange(1, 6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    grid = tile(images, columns=3)
    assert grid.shape == (4, 9)
    assert grid[::2, ::3].tolist() == [[1, 2, 3], [4, 5, 0]]


def test_a_gap_of_zeros_parts_tiles_but_frames_nothing() -> None:
    images = np.full((4, 5, 5, 3), 7, np.uint8)
    grid = tile(images, columns=2, gap=1)
    assert grid.shape == (11, 11, 3)
    assert not grid[5].any()
    assert not grid[:, 5].any()
    assert (np.delete(np.delete(grid, 5, 0), 5, 1) == 7).all()


def test_fewer_images_than_columns_make_a_shorter_row() -> None:
    assert tile(np.ones((2, 4, 4), np.uint8), columns=8).shape == (4, 8)


def test_ink_is_black_and_as_opaque_as_the_pixel_was_bright() -> None:
    image = np.array([[0, 128, 255]], np.uint8)
    assert figures.ink(image).tolist() == [[[0, 0], [0, 128], [0, 255]]]


@pytest.mark.parametrize(("shape", "mode"), [((3, 5), "L"), ((3, 5, 2), "LA"), ((3, 5, 3), "RGB")])
def test_a_data_address_holds_the_very_pixels(shape: tuple[int, ...], mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    kind, _, payload = figures.data_uri(image).partition(",")
    read = Image.open(io.BytesIO(base64.b64decode(payload)))
    assert kind == "data:image/png;base64"
    assert read.mode == mode
    assert np.array_equal(np.asarray(read), image)


def test_low_tones_lie_at_the_bottom_and_loud_ones_are_bright() -> None:
    values = np.zeros((48, 48))
    values[0, 10] = 1.0  # the lowest band, a while after the start
    values[47, 0] = 2.0  # beyond the range: clipped
    picture = figures.spectrogram(values)
    brightness = picture.sum(axis=2)
    assert picture.shape == (48, 48, 3)
    assert brightness[47, 10] == brightness[0, 0] == brightness.max()
    assert (brightness == brightness.min()).sum() == 48 * 48 - 2


def _path_points(svg: str) -> list[tuple[float, float]]:
    match = re.search(r'd="M([^"]*)Z"', svg)
    assert match is not None
    return [(float(x), float(y)) for x, y in (p.split() for p in match[1].split(" L"))]


def test_a_waveform_fills_its_height_whatever_its_loudness() -> None:
    samples = 0.01 * np.sin(np.linspace(0, 40, 4_000))
    loud, soft = (
        _path_points(figures.waveform(100 * samples)),
        _path_points(figures.waveform(samples)),
    )
    assert loud == soft
    assert min(y for _, y in loud) == pytest.approx(0, abs=1e-2)
    assert max(y for _, y in loud) == pytest.approx(2, abs=1e-2)


@pytest.mark.parametrize("length", [0, 1, 7, 50_000])
def test_a_waveform_of_any_length_is_drawn(length: int) -> None:
    points = _path_points(figures.waveform(np.zeros(length, np.float32), bins=120))
    assert len(points) == 2 * max(1, min(120, length))
    assert {y for _, y in points} == {1.0}


def _words(svg: str) -> list[str]:
    return [text for node in ElementTree.fromstring(_standalone(svg)).iter() if (text := node.text)]


def _standalone(svg: str) -> str:
    return svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1)


LOG: list[dict[str, Any]] = [
    {"step": s, "loss": 300 * 0.9**s + 1, "note": "x", "lr": None, "phase": "all"}
    for s in range(99)
]


def test_only_finite_numbers_become_curves() -> None:
    log: list[dict[str, Any]] = [
        *LOG,
        {"step": 99, "loss": float("nan"), "agreement": 0.5},
        {"step": 100, "agreement": 0.9},
    ]
    assert figures.curve_names(log) == ["loss", "agreement"]


def test_a_curve_of_shares_is_labelled_in_percent() -> None:
    log = [{"step": s, "agreement": s / 100} for s in range(0, 101, 10)]
    words = _words(figures.curve(log, "agreement", share=True))
    assert "100%" in words
    assert "step" in words


def test_a_chart_has_no_colours_of_its_own_and_asks_for_nothing() -> None:
    svg = figures.curve(LOG, "loss") + figures.scatter(np.eye(2), ["a", "b"])
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "var(--accent)" in svg
    assert "var(--series-1)" in svg
    assert "http" not in svg
    assert "<style" not in svg


def test_a_chart_is_the_same_twice() -> None:
    assert figures.curve(LOG, "loss") == figures.curve(LOG, "loss")


def test_a_map_has_a_dot_a_point_in_its_categorys_colour() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    svg = figures.scatter(points, ["a"] * 10 + ["b"] * 20)
    dots = re.findall(r"<use [^>]*fill: var\(--series-(\d)\)", svg)
    assert (dots.count("0"), dots.count("1")) == (10, 20)


def test_names_on_a_map_are_text_and_never_markup_or_formulas() -> None:
    names = ["<script>", "$x^$", "a & b"]
    svg = figures.scatter(np.eye(3)[:, :2], names, label=True)
    assert "<script" not in svg
    assert set(names) <= set(_words(svg))


def test_colours_come_round_again_after_the_last() -> None:
    assert (
        figures.series_colour(figures.PALETTE + 3) == figures.series_colour(3) == "var(--series-3)"
    )
