"""The reproduction's charts, as PNG files on a light ground."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synesthete.files import whole_file

INK, MUTED, RULE, PAPER = "#1c1b19", "#635e55", "#dbd6ca", "#fcfbf7"
SERIES = (
    "#b43a12", "#3b6fb6", "#3d8b55", "#7d5bb5", "#8a6547",
    "#c86aa6", "#6f6f6f", "#a08a1c", "#2a94a5", "#d1622b",
)  # fmt: skip

Images = NDArray[np.uint8]
Point = Mapping[str, Any]


def learning(curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Agreement on the test pairs over the steps, a line a run; the deck's figure beside them."""
    figure, (axes,) = _figure(1, (7.2, 3.6))
    for colour, (name, log) in zip(SERIES, curves.items(), strict=False):
        seen = [(line["step"], line["agreement"]) for line in log if "agreement" in line]
        if seen:
            steps, values = np.array(seen).T
            axes.plot(steps, 100 * values, color=colour, linewidth=1.8, label=name)
    axes.axhline(93.7, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("the deck: 93.7%", (1, 93.7), (-2, -11), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha="right", color=MUTED, fontsize=9)  # fmt: skip
    axes.set(xscale="log", xlabel="optimiser step", ylabel="agreement, %", ylim=(0, 101))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if axes.lines[1:]:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    _save(figure, path)


def tradeoff(points: Sequence[Point], real: Point, path: Path) -> None:
    """Agreement, diversity, distance and coverage against α; below, what is drawn at each.

    Each of `points` is a scorecard with its intervals, `alpha`, and `drawn` uint8[9, 28, 28].
    """
    figure = Figure(figsize=(10, 7.6), layout="constrained", facecolor=PAPER)
    parts = figure.add_gridspec(2, 1, height_ratios=(3, 1.15))
    upper, lower = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    charts = upper.subplots(2, 2)
    alphas = [point["alpha"] for point in points]
    for axes, (key, title, scale) in zip(
        charts.flat,
        (("agreement", "agreement, %", 100), ("diversity_ratio", "diversity ratio", 1),
         ("fld", "Fréchet distance", 1), ("coverage", "coverage, %", 100)),
        strict=True,
    ):  # fmt: skip
        _plain(axes)
        values = scale * np.array([point[key] for point in points])
        ends = scale * np.array([point[f"{key}_ci95"] for point in points])
        axes.fill_between(alphas, ends[:, 0], ends[:, 1], color=SERIES[0], alpha=0.18, linewidth=0)
        axes.plot(alphas, values, "o-", color=SERIES[0], linewidth=1.8, markersize=5)
        axes.axhline(scale * real[key], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_title(title, loc="left", fontsize=11, color=INK)
        axes.set(xscale="log", xticks=alphas, xticklabels=[f"{a:g}" for a in alphas])
        axes.minorticks_off()
        if key == "fld":
            axes.set_yscale("log")
    upper.supxlabel("α, the weight of the reconstruction loss; dashed: real images", fontsize=10,
                    color=MUTED)  # fmt: skip
    for axes, point in zip(lower.subplots(1, len(points), squeeze=False)[0], points, strict=True):
        axes.set_axis_off()
        axes.set_title(f"α = {point['alpha']:g}", fontsize=10, color=INK)
        rows = point["drawn"].reshape(3, 3, 28, 28).swapaxes(1, 2).reshape(84, 84)
        axes.imshow(rows, cmap="gray", vmin=0, vmax=255)
    _save(figure, path)


def frontier(points: Mapping[str, Point], path: Path) -> None:
    """Agreement against diversity, a point a model; those named α… are joined by a line."""
    figure, (axes,) = _figure(1, (7.2, 4.4))
    swept = [p for name, p in points.items() if name.startswith("α")]
    axes.plot([p["diversity_ratio"] for p in swept], [100 * p["agreement"] for p in swept],
              color=SERIES[0], linewidth=1.2, alpha=0.6)  # fmt: skip
    for name, point in points.items():
        x, y = point["diversity_ratio"], 100 * point["agreement"]
        low, high = (100 * end for end in point.get("agreement_ci95") or (y / 100, y / 100))
        swept_too = name.startswith("α")
        axes.errorbar(x, y, yerr=[[max(0, y - low)], [max(0, high - y)]], fmt="o",
                      color=SERIES[0 if swept_too else 1], markersize=5, elinewidth=1)  # fmt: skip
        axes.annotate(name, (x, y), (3, -7 if swept_too else 4), textcoords="offset points",
                      rotation=-65 if swept_too else 40, rotation_mode="anchor", fontsize=9,
                      va="top" if swept_too else "bottom", color=INK)  # fmt: skip
    axes.set(xlabel="diversity ratio (1: as diverse as the data)", ylabel="agreement, %")
    _save(figure, path)


def compared(models: Mapping[str, Mapping[str, Point]], path: Path) -> None:
    """Agreement against diversity and against Fréchet distance: a line a model, a mark a setting.

    `models` are scorecards by model and setting; a setting of no name has no mark of its own. The
    bars are 95% intervals of the agreement over recordings.
    """
    figure, charts = _figure(2, (11, 4.8))
    for axes, key in zip(charts, ("diversity_ratio", "fld"), strict=True):
        for colour, (model, settings) in zip(SERIES, models.items(), strict=False):
            points = list(settings.values())
            x = np.array([point[key] for point in points])
            y = 100 * np.array([point["agreement"] for point in points])
            spans = [point.get("agreement_ci95") or 2 * [point["agreement"]] for point in points]
            bars = np.abs(100 * np.array(spans).T - y)
            axes.errorbar(x, y, yerr=bars, fmt="o-", color=colour, markersize=4.5, elinewidth=0.8,
                          linewidth=1.4, label=model)  # fmt: skip
            for setting, left, up in zip(settings, x, y, strict=True):
                axes.annotate(setting, (left, up), (4, -10), textcoords="offset points",
                              fontsize=8, color=colour)  # fmt: skip
        axes.set(ylabel="agreement, %")
    charts[0].set(xlabel="diversity ratio (1: as diverse as the data)")
    charts[1].set(xlabel="Fréchet distance to real images (logarithmic)", xscale="log")
    charts[1].legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower left")
    _save(figure, path)


def settings(rows: Mapping[str, Images], path: Path) -> None:
    """What is drawn at each setting, a row of images uint8[N, 28, 28] each."""
    figure = Figure(figsize=(7.2, 0.62 * len(rows)), layout="constrained", facecolor=PAPER)
    for axes, (name, images) in zip(
        figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True
    ):
        axes.imshow(np.concatenate(list(images), axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, color=INK)
        axes.spines[:].set_visible(False)
    _save(figure, path)


def conditions(rows: Sequence[Point], path: Path) -> None:
    """Agreement on clips in each `condition`, with its 95% interval; a line at the first's."""
    figure, (axes,) = _figure(1, (7.2, 0.25 * len(rows) + 0.9))
    values = 100 * np.array([row["agreement"] for row in rows])
    bars = np.abs(100 * np.array([row["ci95"] for row in rows]).T - values)
    places = np.arange(len(rows))[::-1]
    axes.axvline(values[0], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.errorbar(values, places, xerr=bars, fmt="o", color=SERIES[0], markersize=5, elinewidth=1)
    axes.set_yticks(places, [row["condition"] for row in rows])
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set(xlabel="agreement, %", ylim=(-0.7, len(rows) - 0.3))
    _save(figure, path)


def latent(points: NDArray[np.floating[Any]], names: Sequence[str], path: Path) -> None:
    """A map of the test recordings float[R, 2], each drawn as the digit that it says."""
    figure, (axes,) = _figure(1, (6.4, 5.2))
    for index, name in enumerate(sorted(set(names))):
        mine = points[np.array(names) == name]
        axes.plot(mine[:, 0], mine[:, 1], linestyle="", marker=f"${name}$", markersize=7,
                  color=SERIES[index % len(SERIES)], markeredgewidth=0.3)  # fmt: skip
    axes.set_axis_off()
    _save(figure, path)


def heatmaps(
    matrices: Mapping[str, NDArray[np.floating[Any]]],
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
) -> None:
    """Similarities in 0..1, a map each, on one scale: audio layers down, image layers across."""
    figure, charts = _figure(len(matrices), (3.6 * len(matrices), 3.7))
    for axes, (name, values) in zip(charts, matrices.items(), strict=True):
        axes.imshow(values, cmap="magma", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.set_title(name, loc="left", fontsize=11, color=INK)
        axes.set_xticks(range(len(columns)), columns, rotation=30, fontsize=8)
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set(xlabel="image layer", ylabel="audio layer")
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9,
                      color="white" if value < 0.6 else INK)  # fmt: skip
    _save(figure, path)


def _figure(count: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
    charts = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in charts:
        _plain(axes)
    return figure, charts


def _plain(axes: Axes) -> None:
    axes.set_facecolor(PAPER)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)
    axes.tick_params(which="both", colors=MUTED, length=0, labelsize=9)
    axes.xaxis.label.set(color=MUTED, size=10)
    axes.yaxis.label.set(color=MUTED, size=10)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as draft:
        figure.savefig(draft, format="png", dpi=144, metadata={"Software": None})
