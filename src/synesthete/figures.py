"""Turn arrays into the pictures of a report: PNG for pixels, SVG for charts."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from synesthete.pixels import Pixels

Floats = npt.NDArray[np.floating[Any]]

# A chart is drawn in stand-in colours, then each becomes the page's CSS variable of that name, so
# that one SVG serves light, dark and print.
PALETTE = 10  # --series-0 … --series-9
_STAND_INS = {
    name: f"#0102{index:02x}"
    for index, name in enumerate(
        ["ink", "muted", "rule", "accent", *(f"series-{i}" for i in range(PALETTE))]
    )
}
_SIZE = (5.0, 3.0)  # inches of 72 units: text keeps its size on a phone's width
_SILENT_METADATA = dict.fromkeys(["Creator", "Date", "Format", "Type"])
_NOT_A_CURVE = {"step", "epoch", "phase", "seconds"}


def series_colour(index: int) -> str:
    """CSS colour of the index-th category, the same in charts and in the page's legends."""
    return f"var(--series-{index % PALETTE})"


def ink(image: Pixels) -> Pixels:
    """Grey image as black ink whose opacity is the brightness: uint8[H, W] to uint8[H, W, 2]."""
    return np.dstack([np.zeros_like(image), image])


def spectrogram(values: Floats) -> Pixels:
    """Picture of a spectrogram: float[mels, frames] in 0..1, row 0 lowest, to uint8[…, 3].

    Low frequencies end at the bottom; values outside 0..1 are clipped.
    """
    colours = matplotlib.colormaps["magma"](np.clip(values[::-1], 0, 1), bytes=True)
    return np.ascontiguousarray(colours[..., :3], dtype=np.uint8)


def png(image: Pixels) -> bytes:
    """PNG of uint8[H, W] grey, uint8[H, W, 2] grey and opacity, or uint8[H, W, 3] colours."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(image: Pixels) -> str:
    """Write the image as a `data:` address, so that a page needs no further file."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def waveform(samples: Floats, bins: int = 120) -> str:
    """SVG outline of a recording, float[T]: the extremes of each of `bins` stretches of time."""
    stretches = np.array_split(np.asarray(samples, float), max(1, min(bins, len(samples))))
    peak = max((float(np.abs(part).max()) for part in stretches if len(part)), default=0.0)
    scale = 1 / peak if peak > 0 else 0.0
    upper = [1 - scale * float(part.max(initial=0)) for part in stretches]
    lower = [1 - scale * float(part.min(initial=0)) for part in stretches]
    there = [f"{x} {y:.3g}" for x, y in enumerate(upper)]
    back = [f"{x} {y:.3g}" for x, y in reversed(list(enumerate(lower)))]
    return (
        f'<svg class="wave" viewBox="0 0 {max(1, len(stretches) - 1)} 2" aria-hidden="true" '
        f'preserveAspectRatio="none"><path d="M{" L".join(there + back)}Z"/></svg>'
    )


def curve_names(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of a run's log that can be drawn as curves, in the order of first appearance."""
    names = dict.fromkeys(name for row in log for name in row if name not in _NOT_A_CURVE)
    return [name for name in names if len(_finite(log, name)[0]) > 1]


def curve(log: Sequence[Mapping[str, Any]], name: str, *, share: bool = False) -> str:
    """SVG of one logged quantity over the steps; with `share`, as percentages.

    Many points are drawn pale with their running median on top; a range of more than a factor
    of 20 gets a logarithmic axis.
    """
    steps, values = _finite(log, name)
    values = values * 100 if share else values
    figure, axes = _chart(grid="y")
    window = len(values) // 40
    if window > 1:
        axes.plot(steps, values, color=_STAND_INS["accent"], alpha=0.3, linewidth=0.7)
    smooth = _running_median(values, window)
    axes.plot(steps, smooth, color=_STAND_INS["accent"], linewidth=1.8)
    axes.plot(steps[-1], smooth[-1], "o", color=_STAND_INS["accent"], markersize=4)
    if not share and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,.0f}%" if share else "{x:,.4g}")
    axes.set_xlabel("step")
    return _svg(figure)


def scatter(points: Floats, names: Sequence[str], *, label: bool = False) -> str:
    """SVG map of float[R, 2] points coloured by name; with `label`, each name above its points."""
    figure, axes = _chart(size=(5.0, 4.4))
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    kinds = np.array(names)
    for index, name in enumerate(dict.fromkeys(names)):
        mine = points[kinds == name]
        colour = _STAND_INS[f"series-{index % PALETTE}"]
        axes.scatter(mine[:, 0], mine[:, 1], s=22, color=colour, alpha=0.75, linewidths=0)
    for name in dict.fromkeys(names) if label else ():
        _label(axes, points[kinds == name], name)
    return _svg(figure)


def _label(axes: Axes, points: Floats, name: str) -> None:
    """Write the name above the middle of its points."""
    top = (float(np.median(points[:, 0])), float(points[:, 1].max()))
    axes.annotate(
        name,
        top,
        (0, 4),
        textcoords="offset points",
        ha="center",
        color=_STAND_INS["ink"],
        fontsize=14,
        weight="bold",
        parse_math=False,
    )


def _finite(log: Sequence[Mapping[str, Any]], name: str) -> tuple[Floats, Floats]:
    """Collect steps and values of the rows that hold a finite number under `name`."""
    rows = [
        (float(row.get("step", index)), float(row[name]))
        for index, row in enumerate(log)
        if isinstance(row.get(name), int | float) and np.isfinite(row[name])
    ]
    table = np.array(rows, float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _running_median(values: Floats, window: int) -> Floats:
    """Centred running median; windows are cut short at both ends."""
    half = window // 2
    return np.array(
        [np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    )


def _chart(size: tuple[float, float] = _SIZE, grid: str = "") -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_STAND_INS["rule"])
    axes.tick_params(which="both", colors=_STAND_INS["muted"], length=0, labelsize=11)
    axes.xaxis.label.set(color=_STAND_INS["muted"], size=11)
    if grid == "y":
        axes.grid(axis="y", color=_STAND_INS["rule"], linewidth=0.7)
        axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Make SVG to inline: proportions but no size, the page's colours, repeatable ids."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "synesthete"}):
        figure.savefig(buffer, format="svg", metadata=_SILENT_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # several charts share a page: no id twice
    for name, colour in _STAND_INS.items():
        text = text.replace(colour, f"var(--{name})")
    return text
