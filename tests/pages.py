"""The pages of the documentation, and what they tell a reader to type."""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import markdown

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        ROOT / "bench" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "src").rglob("models/*/README.md"),
    ]
)
PROGRAMS = ("synesthete", "make", "python", "pip", "eval", "export")
"""What is looked for in the running text too."""


@dataclass(frozen=True)
class Shown:
    """A block of code, or a command within the text."""

    page: str
    language: str
    """`""` for commands."""
    text: str

    @property
    def command(self) -> str:
        """The command without its comment."""
        return self.text.split(" #")[0].strip()


def shown() -> list[Shown]:
    """All that the pages show: programs whole, commands line by line, none twice."""
    found: dict[tuple[str, str], Shown] = {}
    for page in PAGES:
        for piece in _pieces(page):
            found.setdefault((piece.language, piece.command), piece)
    return list(found.values())


def _pieces(page: Path) -> Iterator[Shown]:
    name = page.relative_to(ROOT).as_posix()
    reader = _Reader()
    extensions = ["fenced_code", "def_list", "tables"]
    reader.feed(markdown.markdown(page.read_text(encoding="utf-8"), extensions=extensions))
    for language, text in reader.blocks:
        for part in [text] if language else text.splitlines():
            if part.strip():
                yield Shown(name, language, part)
    for text in reader.inline:
        if text.split(" ")[0] in PROGRAMS and " " in text:
            yield Shown(name, "", text)


class _Reader(HTMLParser):
    """Collects the code of a rendered page: blocks with their language, and pieces of text."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[str, str]] = []
        self.inline: list[str] = []
        self._block = False
        self._language: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._block = self._block or tag == "pre"
        if tag == "code":
            self._language = (dict(attrs).get("class") or "").removeprefix("language-")
            self._text = ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._block = False
        elif tag == "code" and self._block:
            self.blocks.append((self._language or "", self._text))
        elif tag == "code":
            self.inline.append(" ".join(self._text.split()))
