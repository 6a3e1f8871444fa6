"""The docs' charts: what they plot is what they were given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from synesthete.reproduce import charts


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(charts, "_save", lambda figure, path: figures.append(figure))
    return figures


def point(agreement: float, diversity: float, fld: float) -> dict[str, Any]:
    return {"agreement": agreement, "agreement_ci95": [agreement - 0.02, agreement + 0.01],
            "diversity_ratio": diversity, "fld": fld}  # fmt: skip


def test_models_are_compared_by_diversity_and_by_distance(drawn: list[Figure]) -> None:
    dial = {"0": point(0.99, 0.2, 300), "1": point(0.98, 1.0, 3)}
    real = {"agreement": 0.995, "diversity_ratio": 1.0, "fld": 1.4}
    charts.compared({"flow": dial, "real": {"": real}}, Path("none.png"))
    by_diversity, by_distance = drawn[0].axes
    for axes, key in ((by_diversity, "diversity_ratio"), (by_distance, "fld")):
        flow, alone = axes.containers
        np.testing.assert_allclose(flow[0].get_xdata(), [p[key] for p in dial.values()])
        np.testing.assert_allclose(flow[0].get_ydata(), [99, 98])
        (bars,) = flow[2]
        np.testing.assert_allclose([b[:, 1] for b in bars.get_segments()], [[97, 100], [96, 99]])
        np.testing.assert_allclose(alone[0].get_xdata(), [real[key]])
        assert [text.get_text() for text in axes.texts] == ["0", "1", ""]
    assert by_distance.get_xscale() == "log"


def test_settings_are_rows_of_images_as_they_are(drawn: list[Figure]) -> None:
    rng = np.random.default_rng(0)
    rows = {name: rng.integers(0, 256, (3, 28, 28), np.uint8) for name in ("0", "0.5", "real")}
    charts.settings(rows, Path("none.png"))
    assert [axes.get_ylabel() for axes in drawn[0].axes] == [*rows]
    for axes, images in zip(drawn[0].axes, rows.values(), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.hstack([*images]))


def test_conditions_stand_from_above_with_a_line_at_the_clean_clips(drawn: list[Figure]) -> None:
    rows = [
        {"condition": "clean", "agreement": 0.99, "ci95": [0.97, 1.0]},
        {"condition": "mu-law", "agreement": 0.9, "ci95": [0.85, 0.93]},
    ]
    charts.conditions(rows, Path("none.png"))
    (axes,) = drawn[0].axes
    line, _ = axes.lines
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float), [99, 99])
    found = {text.get_text(): place for place, text in zip(
        axes.get_yticks(), axes.get_yticklabels(), strict=True
    )}  # fmt: skip
    assert found["clean"] > found["mu-law"]


def test_a_chart_is_written_as_a_picture(tmp_path: Path) -> None:
    charts.settings({"0": np.zeros((2, 28, 28), np.uint8)}, tmp_path / "rows.png")
    assert (tmp_path / "rows.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
