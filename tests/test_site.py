"""The site of the documentation: built strictly, no loose end, nothing remote."""

import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import ViewportSize

from browser import DESKTOP, PHONE, browser, hosts, served
from pages import PAGES, ROOT
from synesthete import families

PROJECT = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
BUILD = "zensical build --clean --strict"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"'([\w/-]+\.md)'", str(PROJECT["nav"]))
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(
        page.relative_to(docs).as_posix() for page in PAGES if page.is_relative_to(docs)
    )


def test_every_family_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "presets.md").read_text(encoding="utf-8")
    for file in Path(families.__path__[0]).glob("[a-z]*.py"):
        assert f"::: synesthete.families.{file.stem}.Config\n" in page


def test_make_builds_it_strictly() -> None:
    command = ["make", "--no-print-directory", "--dry-run", "docs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith(BUILD)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in another place."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "src", "bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), ROOT / "zensical.toml"):
        shutil.copy(path, folder)
    program, *words = BUILD.split()
    command = [str(Path(sys.executable).with_name(program)), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / str(PROJECT["site_dir"])


class Page(HTMLParser):
    """What a built page points to, what it brings along, and the places in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.brought: set[str] = set()
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if "href" in found:
            (self.links if tag == "a" else self.brought).add(found["href"])
        if "src" in found:
            self.brought.add(found["src"])


@pytest.mark.slow
def test_no_link_of_the_site_is_broken_and_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) == len([page for page in PAGES if page.is_relative_to(ROOT / "docs")])
    for path, page in pages.items():
        for link in page.links | page.brought:
            parts = urlsplit(link)
            if parts.scheme:
                assert link in page.links, f"{path} brings {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, f"{path}: {link}"
    for style in site.rglob("*.css"):
        brought = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", style.read_text())
        assert not [url for url in brought if not url.startswith("data:")], style


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_ask_no_other_machine_and_need_no_sideways_scrolling(
    site: Path, size: ViewportSize
) -> None:
    asked: list[str] = []
    with served(site) as url, browser(size=size) as page:
        page.on("request", lambda request: asked.append(request.url))
        for path in site.rglob("*.html"):
            name = path.relative_to(site).as_posix()
            page.goto(f"{url}{name}", wait_until="networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], f"{name}: {wide} pixels wide"
    assert len(asked) > 100
    assert hosts(asked) == {"127.0.0.1"}
