"""Deal what hangs together to the sides of a split, whole: by group, by content, by pair."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synesthete.errors import UserError


class SidesError(UserError):
    """Shares that no split can have."""


@dataclass(frozen=True)
class Shares:
    """How much of the pairs is kept from training, and by which draw."""

    test: float = 0.1
    """Share of the pairs, 0 to 1."""
    validation: float = 0.0
    """Share of the pairs, 0 to 1."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.test, self.validation) < 0 or self.test + self.validation >= 1:
            raise SidesError(
                f"shares of {self.test} for test and {self.validation} for validation: "
                "wanted 0 or more each, and less than 1 together"
            )

    @property
    def asked(self) -> dict[str, float]:
        """The sides beside train that are to have anything."""
        found = {"test": self.test, "validation": self.validation}
        return {side: share for side, share in found.items() if share}


def together(count: int, ties: Iterable[Sequence[int]]) -> list[int]:
    """The first item of what each of `count` items hangs together with, over chains of `ties`."""
    first = list(range(count))

    def root(item: int) -> int:
        while first[item] != item:
            first[item] = first[first[item]]
            item = first[item]
        return item

    for tied in ties:
        roots = [root(item) for item in tied]
        for other in roots:
            first[root(other)] = min(roots)
    return [root(item) for item in range(count)]


def deal(weights: Mapping[int, int], shares: Shares, rng: np.random.Generator) -> dict[int, str]:
    """The side of each unit; a side takes units in random order while they fit into its share.

    A side that is asked for gets a unit, the lightest, where none fits; train keeps one. With
    fewer units than sides, all is train.

    Args:
        weights: unit -> its number of pairs.
        shares: what is asked for.
        rng: draws the order.
    """
    sides = dict.fromkeys(weights, "train")
    if len(weights) <= len(shares.asked):
        return sides
    order = [[*weights][row] for row in rng.permutation(len(weights))]
    total = sum(weights.values())
    for place, (side, share) in enumerate(shares.asked.items()):
        kept = len(shares.asked) - place  # for train and for the sides to come
        free = [unit for unit in order if sides[unit] == "train"][kept:]
        room = share * total
        for unit in free:
            if weights[unit] <= room:
                sides[unit], room = side, room - weights[unit]
        if side not in sides.values():
            sides[min(free, key=weights.__getitem__)] = side
    return sides
