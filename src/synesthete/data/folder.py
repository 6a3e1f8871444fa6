"""Pair the sounds and images of a folder: by the stem of their file names, or by sub-folder."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from synesthete.data.audio import SUFFIXES
from synesthete.data.own import Item, Listing, OwnError

IMAGES = frozenset(".png .jpg .jpeg .webp .gif .bmp .tif .tiff .ppm .pgm".split())

RULES = ("stem", "folder")

STEMS: Mapping[str, Callable[[PurePath], str]] = {
    "by file stem within a folder (a/001.wav + a/001.png)": lambda path: str(path.with_suffix("")),
    "by file stem below the first folder (sounds/a/001.wav + images/a/001.png)": (
        lambda path: str(PurePath(*path.parts[1:]).with_suffix("")) if path.parts[1:] else ""
    ),
    "by file stem alone (a/001.wav + b/001.png)": lambda path: path.stem,
}
"""Ways to read a stem, in the order of preference; the one that pairs most sounds is taken."""


def listing(folder: Path, by: str | None = None, *, grouped: bool = False) -> Listing:
    """Say which sounds of a folder, searched recursively, meet which images.

    Args:
        folder: where the files are; hidden ones are passed over.
        by: `"stem"`; `"folder"`: every sound meets every image of its sub-folder, whose name is
            its label; None: by stem where any sound finds an image so, else by sub-folder.
        grouped: the files of a sub-folder are of one speaker or one video.

    Raises:
        OwnError: no sounds, no images, or none that meet.
    """
    if not folder.is_dir():
        raise OwnError(f"{folder}: no folder")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if not any(part[0] == "." for part in path.parts)]
    sounds = [path for path in files if path.suffix.lower() in SUFFIXES]
    images = [path for path in files if path.suffix.lower() in IMAGES]
    if not (sounds and images):
        raise OwnError(
            f"{folder}: {len(sounds)} sounds and {len(images)} images; wanted some of both"
        )
    if by == "folder":
        return _by_folder(folder, sounds, images, grouped)
    found = [_by_key(folder, sounds, images, rule, key, grouped) for rule, key in STEMS.items()]
    best = max(found, key=lambda each: len(np.unique(each.edges[:, 0])))
    if by is None and not len(best.edges):
        return _by_folder(folder, sounds, images, grouped)
    if not len(best.edges):
        raise OwnError(f"{folder}: no sound has the stem of an image; try --by folder")
    return best


def _by_key(
    folder: Path,
    sounds: Sequence[PurePath],
    images: Sequence[PurePath],
    rule: str,
    key: Callable[[PurePath], str],
    grouped: bool,
) -> Listing:
    """Sounds meet the images of their key; a key with several of both says nothing."""
    homes: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for kind, paths in enumerate((sounds, images)):
        for row, path in enumerate(paths):
            homes[key(path)][kind].append(row)
    edges: list[tuple[int, int]] = []
    lonely: dict[str, str] = {}
    for name, (ours, theirs) in homes.items():
        if name and ours and theirs and min(len(ours), len(theirs)) == 1:
            edges += [(sound, image) for sound in ours for image in theirs]
            continue
        why = (
            "several sounds and several images of this stem"
            if ours and theirs
            else ("no image of this stem" if ours else "no sound of this stem")
        )
        alone = [*(sounds[row] for row in ours), *(images[row] for row in theirs)]
        lonely |= {str(folder / path): why for path in alone}
    return Listing(
        tuple(_item(folder, path, grouped) for path in sounds),
        tuple(_item(folder, path, grouped) for path in images),
        np.array(sorted(edges), np.int64).reshape(-1, 2),
        rule,
        lonely,
    )


def _by_folder(
    folder: Path, sounds: Sequence[PurePath], images: Sequence[PurePath], grouped: bool
) -> Listing:
    """Every sound meets every image below the same first folder."""
    if grouped:
        raise OwnError("--by folder makes classes of the sub-folders: they cannot be groups too")
    homes: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for kind, paths in enumerate((sounds, images)):
        for row, path in enumerate(paths):
            homes[_class(path)][kind].append(row)
    blocks = [
        np.stack(np.meshgrid(ours, theirs, indexing="ij"), axis=-1).reshape(-1, 2)
        for name, (ours, theirs) in sorted(homes.items())
        if name and ours and theirs
    ]
    if not blocks:
        raise OwnError(
            f"{folder}: no sound has the stem of an image, no sub-folder holds both; name files "
            "alike (a/001.wav, b/001.png), or put what belongs together into one sub-folder"
        )
    met = {name for name, (ours, theirs) in homes.items() if name and ours and theirs}
    lonely = {
        str(folder / path): "no sub-folder with sounds and images around it"
        for path in (*sounds, *images)
        if _class(path) not in met
    }
    rule = "by sub-folder: every sound meets every image there (its name is kept as a label)"
    return Listing(
        _classed(folder, sounds),
        _classed(folder, images),
        np.concatenate(blocks).astype(np.int64),
        rule,
        lonely,
        classed=True,
    )


def _classed(folder: Path, paths: Sequence[PurePath]) -> tuple[Item, ...]:
    return tuple(Item(str(folder / path), label=_class(path)) for path in paths)


def _class(path: PurePath) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


def _item(folder: Path, path: PurePath, grouped: bool) -> Item:
    return Item(str(folder / path), group=str(path.parent) if grouped else "")
