"""Write a story of text, tables and pictures as Markdown with files, and as one HTML page."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from synesthete.files import whole_file

CODE = re.compile(r"`([^`]+)`")
STRONG = re.compile(r"\*\*([^*]+)\*\*")


@dataclass(frozen=True)
class Picture:
    """A PNG file below the story's folder, with what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text below a head; numbers stand right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in order; text may hold `code` and **emphasis**."""

    title: str
    blocks: Sequence[str | Table | Picture] = field(default_factory=tuple)


@dataclass(frozen=True)
class Story:
    """A page."""

    title: str
    lead: str
    sections: Sequence[Section]


def write(story: Story, out: Path) -> Path:
    """Write `reproduction.md` and `report.html` into `out`; the path of the latter."""
    pages = Environment(
        loader=PackageLoader("synesthete"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"marked": marked, "inline": inline, "kind": kind}
    html = pages.get_template("reproduction.html.j2").render(story=story)
    for name, text in (("reproduction.md", markdown(story, out)), ("report.html", html)):
        with whole_file(out / name) as draft:
            draft.write_text(text, encoding="utf-8")
    return out / "report.html"


def markdown(story: Story, out: Path) -> str:
    """The story as Markdown, its pictures as links relative to `out`."""
    parts = [f"# {story.title}", story.lead]
    for section in story.sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            if isinstance(block, Picture):
                place = block.path.relative_to(out).as_posix()
                parts.append(f"![{block.caption}]({place})\n\n*{block.caption}*")
            elif isinstance(block, Table):
                lines = [block.head, ["---"] * len(block.head), *block.rows]
                parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
            else:
                parts.append(block)
    return "\n\n".join(parts) + "\n"


def marked(text: str) -> Markup:
    """Text as HTML, with `code` and **emphasis**."""
    safe = CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(STRONG.sub(r"<strong>\1</strong>", safe))  # escaped above


def inline(path: Path) -> str:
    """A PNG file as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def kind(block: str | Table | Picture) -> str:
    """The block's kind, for the template."""
    return type(block).__name__
