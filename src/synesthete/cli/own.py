"""Commands that make an alignment of a user's own material."""

from pathlib import Path
from typing import Any

from synesthete.cli import options
from synesthete.cli.options import Arguments, Commands


def from_folder(a: Arguments) -> None:
    """Pair the sounds and images of a folder by file stem or by sub-folder."""
    from synesthete import pairs

    pairs.from_folder(a.dir, a.out, *_form(a), by=a.by, grouped=a.group_folders)
    print(a.out)


def from_manifest(a: Arguments) -> None:
    """Pair the files that a table lists: CSV, TSV, JSON Lines or Parquet."""
    from synesthete import pairs
    from synesthete.data.manifest import Columns

    columns = Columns(a.audio, a.image, a.group, a.split, a.label)
    pairs.from_manifest(a.file, a.out, *_form(a), columns=columns)
    print(a.out)


def from_video(a: Arguments) -> None:
    """Cut pairs out of videos: frames, and the sound around each. Goes on where it was stopped."""
    from synesthete import pairs
    from synesthete.data.video import Cut

    cut = Cut(a.frames, a.fps, a.before, a.after)
    pairs.from_video(a.dir, a.out, *_form(a), cut=cut, engine=options.engine_of(a))
    print(a.out)


def _form(a: Arguments) -> tuple[Any, Any]:
    """What sounds and images are brought to, and how the pairs are split."""
    from synesthete.data.own import Form
    from synesthete.data.sides import Shares

    return Form(a.rate, a.size, a.channels), Shares(a.test, a.validation, a.seed)


def add(kinds: Commands) -> None:
    """The commands `from-folder`, `from-manifest` and `from-video` of `pairs`."""
    _add_from_folder(kinds)
    _add_from_manifest(kinds)
    _add_from_video(kinds)


def _add_from_folder(kinds: Commands) -> None:
    p = options.command(kinds, "from-folder", from_folder, """
  synesthete pairs from-folder material --out pairs # a/001.wav meets b/001.png
  synesthete pairs from-folder animals --out pairs --by folder --size 32
""")  # fmt: skip
    p.add_argument("dir", type=Path, help="sounds and images, searched recursively")
    p.add_argument("--by", choices=("stem", "folder"),
                   help="equal file stems, or all of a sub-folder (default: as fits)")  # fmt: skip
    p.add_argument("--group-folders", action="store_true",
                   help="a sub-folder is one speaker or video")  # fmt: skip
    _own(p)


def _add_from_manifest(kinds: Commands) -> None:
    p = options.command(kinds, "from-manifest", from_manifest, """
  synesthete pairs from-manifest pairs.csv --out pairs
  synesthete pairs from-manifest pairs.parquet --out pairs --group speaker --grey
""")  # fmt: skip
    p.add_argument("file", type=Path, help="a row a pair; paths are relative to the file's folder")
    p.add_argument("--audio", default="audio", help="the column of sounds (default: audio)")
    p.add_argument("--image", default="image", help="the column of images (default: image)")
    for name, what in (("group", "speakers or videos, never on two sides of the split"),
                       ("split", "train, validation or test"),
                       ("label", "classes, for judging alone")):  # fmt: skip
        p.add_argument(
            f"--{name}", help=f"the column of {what} (default: {name}, where there is one)"
        )
    _own(p)


def _add_from_video(kinds: Commands) -> None:
    p = options.command(kinds, "from-video", from_video, """
  synesthete pairs from-video films --out pairs --fps 2
  synesthete pairs from-video films --out pairs --frames peaks --before 0.2 --after 0.8
  synesthete pairs from-video films --out pairs --engine ray
""")  # fmt: skip
    p.add_argument("dir", type=Path, help="videos, searched recursively")
    p.add_argument("--frames", default="rate", choices=("rate", "scenes", "peaks"),
                   help="evenly spaced (default), one a scene, or where it is loud")  # fmt: skip
    p.add_argument("--fps", type=float, default=1.0, metavar="N",
                   help="frames a second, at most (default: 1)")  # fmt: skip
    for name in ("before", "after"):
        p.add_argument(f"--{name}", type=float, default=0.5, metavar="S",
                       help=f"seconds of sound {name} a frame (default: 0.5)")  # fmt: skip
    options.engine(p)
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    _own(p)


def _own(parser: options.Parser) -> None:
    """What every alignment of one's own needs to know."""
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--rate", type=int, default=16_000, metavar="HZ",
                        help="of the audio, 8000 to 48000 (default: 16000)")  # fmt: skip
    parser.add_argument("--size", type=int, default=64, metavar="PIXELS",
                        help="a side, a multiple of 4 from 28 to 128 (default: 64)")  # fmt: skip
    colours = parser.add_mutually_exclusive_group()
    colours.add_argument("--rgb", dest="channels", action="store_const", const=3, default=3,
                         help="images in colour (the default)")  # fmt: skip
    colours.add_argument("--grey", dest="channels", action="store_const", const=1,
                         help="images in shades of grey")  # fmt: skip
    parser.add_argument("--test", type=float, default=0.1, metavar="SHARE",
                        help="of the pairs, kept from training (default: 0.1)")  # fmt: skip
    parser.add_argument("--validation", type=float, default=0.0, metavar="SHARE",
                        help="of the pairs, kept for tuning (default: 0)")  # fmt: skip
    options.seed(parser)
