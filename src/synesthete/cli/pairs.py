"""Commands about data: bring it, pair it, look at it."""

from pathlib import Path

from synesthete.cli import options, own, show
from synesthete.cli.options import Arguments, Commands
from synesthete.errors import UserError


def fetch(a: Arguments) -> None:
    """Bring data into the cache, verified."""
    from synesthete.data import fsdd, mnist, speech

    homes = {
        "fsdd": lambda: fsdd.load(a.data, other_speakers=a.other_speakers).origin,
        "mnist": lambda: mnist.load(a.data).origin,
        "speech": lambda: speech.synthesise().origin,
    }
    for name in a.what:
        if name not in homes:
            raise UserError(f"nothing called '{name}' to fetch; there are: {', '.join(homes)}")
        origin = homes[name]()
        print(f"{origin.name}: {origin.place}, {origin.detail}")
        for note in origin.notes:
            print(f"  {note}")


def mix(a: Arguments) -> None:
    """Build the mix of spoken and written digits."""
    from synesthete import material

    material.build(options.mix(a), a.out)
    print(a.out)


def inspect(a: Arguments) -> None:
    """Look at an alignment: counts, graph, provenance, pictures, and what to beware of."""
    from synesthete import inspection
    from synesthete.data import storage

    alignment = storage.load(a.dir)
    told = {
        **alignment.summary(),
        "provenance": dict(alignment.provenance),
        "digest": alignment.digest(),
        "warnings": inspection.warnings(alignment),
    }
    if a.sheet:
        inspection.sheet(alignment, a.sheet)
    if a.json:
        show.write_json(told, a.json)
    else:
        show.alignment(told)


def stream(a: Arguments) -> None:
    """Write a split of an alignment as pair shards, which training streams, from disk or a URL."""
    from synesthete.data import pair_shards

    pair_shards.convert(a.dir, a.out, split=a.split, shard_bytes=a.megabytes * 1e6)
    print(a.out)


def add(commands: Commands) -> None:
    """The commands `fetch` and `pairs`."""
    p = options.command(commands, "fetch", fetch, """
  synesthete fetch                                  # FSDD and MNIST
  synesthete fetch fsdd --data ~/recordings         # from a copy on this disk
  synesthete fetch speech
""")  # fmt: skip
    p.add_argument("what", nargs="*", default=["fsdd", "mnist"],
                   help="fsdd, mnist, speech (default: fsdd and mnist)")  # fmt: skip
    options.data(p)
    kinds = commands.add_parser(
        "pairs", help="Build and look at alignments", description="Build and look at alignments.",
        examples="""
  synesthete pairs mix --out pairs
  synesthete pairs from-folder material --out pairs
  synesthete pairs inspect pairs
""").add_subparsers(dest="what", required=True, metavar="WHAT")  # fmt: skip
    _add_mix(kinds)
    own.add(kinds)
    _add_inspect(kinds)
    _add_stream(kinds)


def _add_mix(kinds: Commands) -> None:
    p = options.command(kinds, "mix", mix, """
  synesthete pairs mix --out pairs --split official
  synesthete pairs mix --out pairs --split speaker:theo --validation random
""")  # fmt: skip
    p.add_argument("--out", type=Path, required=True, help="the folder to write")
    p.add_argument("--split", help=options.SPLITS)
    p.add_argument("--validation", help="hold out train recordings too: random or speaker:NAME")
    p.add_argument("--pair-seed", type=int, default=0, help="of the pairs (default: 0)")
    p.add_argument("--shuffled", action="store_true",
                   help="the control: each split's pairs swap their images")  # fmt: skip
    options.crowd(p)
    options.data(p)


def _add_inspect(kinds: Commands) -> None:
    p = options.command(kinds, "inspect", inspect, """
  synesthete pairs inspect pairs
  synesthete pairs inspect pairs --sheet pairs.png
  synesthete pairs inspect pairs --json -           # for scripts
""")  # fmt: skip
    p.add_argument("dir", type=Path, help="a folder that `synesthete pairs` wrote")
    p.add_argument("--sheet", type=Path, metavar="FILE", help="draw some of its pairs as a PNG")
    p.add_argument("--json", metavar="FILE", help="write it as JSON; - for standard output")


def _add_stream(kinds: Commands) -> None:
    p = options.command(kinds, "stream", stream, """
  synesthete pairs stream pairs --out shards
  synesthete pairs stream pairs --out shards --megabytes 4
""")  # fmt: skip
    p.add_argument("dir", type=Path, help="a folder that `synesthete pairs` wrote")
    p.add_argument("--out", type=Path, required=True, help="the folder to write")
    p.add_argument("--split", default="train", choices=("train", "validation", "test"),
                   help="the side to write (default: train)")  # fmt: skip
    p.add_argument("--megabytes", type=float, default=16.0, metavar="N",
                   help="of a shard, of which a reader holds 16 (default: 16)")  # fmt: skip
