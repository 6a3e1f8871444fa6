"""Ways to damage a file, as Hypothesis strategies: bytes from here and there, JSON twisted."""

import copy
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    32_767,
    65_535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
"""Where counts, sizes and offsets go wrong."""
LAYOUTS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
HEADER = 128
"""Bytes at the start of a file that are damaged more than the others."""

NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 0.5, 10**9, -(10**9), 10**30, 1e308, float("nan"), float("inf"),
    "", "os", "../x", "/etc/passwd", "synesthete.cli", "vae", "flow", "autoencoder",
    "a" * 5_000, "\x1b[2J\0\n", "\ud800", "[/x]",
    [], {}, [1], [-1, 0, 10**6], [1, 1, 1], [3, 4096, 4096], [[[[[]]]]], {"a": {"a": {}}},
)  # fmt: skip
"""Values that a JSON file of ours should not hold where something else stood."""


class Harm(NamedTuple):
    """One thing to do to some bytes."""

    kind: str
    place: int
    piece: bytes
    length: int

    def do(self, data: bytearray) -> None:
        at = self.place % (len(data) + 1)
        match self.kind:
            case "overwrite":
                data[at : at + len(self.piece)] = self.piece
            case "insert":
                data[at:at] = self.piece
            case "delete":
                del data[at : at + self.length]
            case "copy":
                data[at:at] = data[at : at + self.length]
            case "cut":
                del data[at:]


def _packed(layout: str, number: int) -> bytes:
    return struct.pack(layout, number % 256 ** struct.calcsize(layout))


Twist = tuple[str, int, Any]
"""What to do to one part of a JSON value, which part (of all, by number), and with what."""

HARMS = st.lists(
    st.builds(
        Harm,
        st.sampled_from(("overwrite", "overwrite", "overwrite", "insert", "delete", "copy", "cut")),
        st.integers(0, HEADER) | st.integers(0, 2**20),
        st.sampled_from([_packed(a, b) for a in LAYOUTS for b in NUMBERS]) | st.binary(max_size=9),
        st.integers(1, 600),
    ),
    min_size=1,
    max_size=6,
)
TWISTS = st.lists(
    st.tuples(
        st.sampled_from(("replace", "replace", "replace", "remove", "add")),
        st.integers(0, 2**16),
        st.sampled_from(NASTY) | st.integers() | st.floats() | st.text(max_size=9),
    ),
    min_size=1,
    max_size=3,
)


def damage(data: bytes, harms: Sequence[Harm]) -> bytes:
    """The bytes, overwritten, cut, copied or grown in a few places."""
    changed = bytearray(data)
    for harm in harms:
        harm.do(changed)
    return bytes(changed)


def twist(value: Any, twists: Sequence[Twist]) -> Any:
    """A JSON value with parts replaced, removed, or put under another key too."""
    value = copy.deepcopy(value)
    for kind, number, nasty in twists:
        places = list(_places(value))
        if not places:
            break
        holder, key = places[number % len(places)]
        if kind == "replace":
            holder[key] = copy.deepcopy(nasty)
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[str(nasty)] = holder[key]
        else:
            holder.append(holder[key])
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
