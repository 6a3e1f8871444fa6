"""Build alignments of a user's own material, and tell what was paired and what was left out."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synesthete.data import folder, joining, manifest, own, storage, videos
from synesthete.data.joining import Own
from synesthete.data.manifest import Columns
from synesthete.data.own import Form, Listing
from synesthete.data.sides import Shares
from synesthete.data.video import Cut
from synesthete.engines import Engine
from synesthete.locks import alone
from synesthete.progress import console

SHOWN = 10
"""Files that are named on the console; all are in `joining.FILES`."""


def from_folder(
    source: Path,
    out: Path,
    form: Form,
    shares: Shares,
    by: str | None = None,
    grouped: bool = False,
) -> None:
    """Pair the files of a folder (`folder.listing`) and write the alignment to `out`."""
    _from_listing(source, folder.listing(source, by, grouped=grouped), out, form, shares)


def from_manifest(
    source: Path, out: Path, form: Form, shares: Shares, columns: Columns | None = None
) -> None:
    """Pair the files that a table lists (`manifest.listing`) and write the alignment to `out`."""
    _from_listing(source, manifest.listing(source, columns), out, form, shares)


def from_video(
    source: Path, out: Path, form: Form, shares: Shares, cut: Cut, engine: Engine
) -> None:
    """Cut the pairs of every video in a folder (`videos.found`) and write the alignment to `out`.

    What is done is kept beside `out` until the alignment is whole: the same call goes on.
    """
    work = out.absolute().parent / f".videos-{out.name}"
    about = {"audio_source": source.resolve().name, "rule": "frames and the sound around them"}
    told = provenance({**about, "cut": asdict(cut)}, form)
    with alone(out):
        found = videos.found(source, form, cut, work, engine)
        write(joining.join(found, form, shares, told), out)
        shutil.rmtree(work)


def _from_listing(source: Path, found: Listing, out: Path, form: Form, shares: Shares) -> None:
    _say(f"paired {found.rule}")
    about = {"audio_source": source.resolve().name, "rule": found.rule}
    with alone(out):
        write(joining.join(own.decoded(found, form), form, shares, provenance(about, form)), out)


def provenance(about: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """What an alignment tells of how it was made."""
    return {**about, "form": asdict(form)}


def write(made: Own, out: Path) -> None:
    """Store an alignment with what lies beside it, and tell its counts and what was left out."""
    storage.save(made.alignment, out, beside=made.save_beside)
    for name, counts in made.alignment.summary()["splits"].items():
        sizes = " ".join(f"{counts[key]:,} {key}," for key in ("recordings", "images"))
        _say(f"{name}: {sizes} {counts['edges']:,} pairs")
    if made.labels:
        _say(f"{len(made.labels.classes)} labels, in a file of their own: for judging alone")
    for why, count in Counter(made.left_out.values()).most_common():
        _say(f"left out: {count:,} x {why}", style="yellow")
    for file, why in sorted(made.left_out.items())[:SHOWN]:
        _say(f"  {file}: {why}", style="dim")
    if len(made.left_out) > SHOWN:
        _say(f"  … the others are listed in {out / joining.FILES}", style="dim")


def _say(text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
