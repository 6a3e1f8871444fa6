"""Write one self-contained HTML page about a trained model: pictures, scores, data, recipe."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synesthete import figures
from synesthete.figures import Floats
from synesthete.files import whole_file
from synesthete.pixels import Pixels, tile

Scorecard = Mapping[str, Any]
Estimates = Mapping[str, Mapping[str, Any]]  # name -> {"value", "ci95", "n"}

MISSING = "–"


@dataclass(frozen=True)
class Example:
    """One recording with what was drawn for it.

    Attributes:
        label: what the recording says, e.g. "3".
        spectrogram: float[48, 48] in 0..1, row 0 the lowest band.
        generated: uint8[n, H, W] or uint8[n, H, W, 3], the model's images for it.
        real: uint8[H, W] or uint8[H, W, 3], a real image paired with it, if there is one.
        speaker: whose voice it is.
        judged: what the judge reads in the first generated image; empty without a judge.
        waveform: float[T], the recording itself, if it is to be drawn.
    """

    label: str
    spectrogram: Floats
    generated: Pixels
    real: Pixels | None = None
    speaker: str = ""
    judged: str = ""
    waveform: Floats | None = None


@dataclass(frozen=True)
class ReportData:
    """All that a report shows; whatever is left empty or null is left out of the page.

    Attributes:
        title: the page's heading.
        command: the exact command that made this.
        created: ISO date.
        scorecard: all keys of `evaluate --json`; null where one does not apply.
        rows: recordings with drawings, the first of each label in the opening picture.
        model: preset, family, parameters, steps, batch_size, objective, seconds, seed, torch,
            precision; further keys are shown as they are.
        origins: one mapping a data source, with the keys of `data.sources.Origin`.
        counts: split -> {"recordings", "images", "pairs"}.
        protocol: how the recordings were split.
        synthetic: the audio was synthesised; the page says so first of all.
        noun: what a label is, in the singular ("digit").
        baselines: name -> scorecard, shown beside the model's in this order.
        deck: scorecard keys -> the figures published in the 2020 talk.
        grid: label -> uint8[n, H, W(, 3)], generated images.
        real_grid: label -> uint8[n, H, W(, 3)], real ones beside them.
        classes: labels in the order of `confusion`'s rows and columns.
        confusion: int[K, K], rows what was heard, columns what the judge reads in the drawing.
        curves: the run's log, a mapping a row: step, loss, further named numbers, agreement.
        latent: float[R, 2], a map of the recordings' embeddings.
        latent_labels: the label of each point of `latent`.
        latent_speakers: the speaker of each point of `latent`.
        failures: recordings whose drawing was read as something else; None if not looked for.
        unseen_speakers: speaker -> {value, ci95, n}, agreement when trained without them.
    """

    title: str
    command: str
    created: str
    scorecard: Scorecard
    rows: Sequence[Example]
    model: Mapping[str, Any]
    origins: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    protocol: str = ""
    synthetic: bool = False
    noun: str = "digit"
    baselines: Mapping[str, Scorecard] = field(default_factory=dict)
    deck: Scorecard = field(default_factory=dict)
    grid: Mapping[str, Pixels] = field(default_factory=dict)
    real_grid: Mapping[str, Pixels] = field(default_factory=dict)
    classes: Sequence[str] = ()
    confusion: np.ndarray[Any, np.dtype[np.integer[Any]]] | None = None
    curves: Sequence[Mapping[str, Any]] = ()
    latent: Floats | None = None
    latent_labels: Sequence[str] = ()
    latent_speakers: Sequence[str] = ()
    failures: Sequence[Example] | None = None
    unseen_speakers: Estimates | None = None


def write(data: ReportData, path: Path) -> None:
    """Write the page to `path`, making its folder; it needs no other file and no network."""
    with whole_file(path) as draft:
        draft.write_text(render(data), encoding="utf-8")


def render(data: ReportData) -> str:
    """Make the page as HTML."""
    return _environment().get_template("report.html.j2").render(d=data)


def missing(value: Any) -> bool:
    """Whether a value is null: None or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def percent(value: Any) -> str:
    """0.9861 as "98.6%"."""
    return MISSING if missing(value) else f"{100 * value:.1f}%"


def interval(pair: Sequence[float] | None) -> str:
    """(0.971, 0.996) as "97.1–99.6%"."""
    if pair is None or any(missing(end) for end in pair):
        return ""
    return f"{100 * pair[0]:.1f}–{100 * pair[1]:.1f}%"


def number(value: Any) -> str:
    """Whole numbers with separators, others with three significant digits or four decimals."""
    if missing(value):
        return MISSING
    if value == 0 or isinstance(value, Integral) or abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:#.3g}" if abs(value) >= 0.01 else f"{value:.4f}"
    return text.replace("-", "−")


def duration(seconds: Any) -> str:
    """Seconds in the unit a reader would choose: "0.8 ms", "58 s", "1 min 24 s", "2 h 3 min"."""
    if missing(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def axis_start(tables: Iterable[Estimates]) -> float:
    """Find a round share at or below every value and interval, where an axis may start."""
    lows = [
        low
        for table in tables
        for row in table.values()
        for low in (row.get("value"), *(row.get("ci95") or ()))
        if not missing(low)
    ]
    return max(0.0, math.floor(10 * min(lows, default=0.9) - 1e-9) / 10)


def systems(data: ReportData) -> dict[str, Scorecard]:
    """List the columns of the table: the model, its baselines, the talk's figures where given."""
    talk = {"2020 talk": data.deck} if data.deck else {}
    return {"This model": data.scorecard, **data.baselines, **talk}


def measuring(cards: Mapping[str, Scorecard], key: str) -> bool:
    """Whether any of the scorecards has a value under `key`."""
    return any(not missing(card.get(key)) for card in cards.values())


def picture(images: Pixels, columns: int = 8) -> str:
    """Make a `data:` address of uint8[n, H, W(, 3)] in rows of `columns`; grey becomes ink."""
    if images.ndim == 3:
        return figures.data_uri(figures.ink(tile(images, columns)))
    return figures.data_uri(tile(images, columns, gap=1))


def legend(names: Sequence[str]) -> dict[str, str]:
    """Each distinct name with the colour that `figures.scatter` gives it."""
    return {name: figures.series_colour(i) for i, name in enumerate(dict.fromkeys(names))}


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("synesthete"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "number": number,
        "duration": duration,
        "systems": systems,
        "picture": picture,
        "spectrogram": lambda values: figures.data_uri(figures.spectrogram(values)),
        "waveform": lambda samples: Markup(figures.waveform(samples)),
        "curve": lambda log, name: Markup(figures.curve(log, name, share="agreement" in name)),
        "curve_names": figures.curve_names,
        "scatter": lambda points, names, label: Markup(figures.scatter(points, names, label=label)),
        "legend": legend,
    }
    environment.tests |= {"missing": missing, "measuring": measuring}
    environment.globals["axis_start"] = axis_start
    return environment
