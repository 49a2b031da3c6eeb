"""Where labels stand that would lie on each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence


def spread_places(wanted: list[float], room: float, ends: tuple[float, float]) -> list[float]:
    """Places near the wanted ones, at least ``room`` apart, within two ends where they fit.

    Args:
        wanted: Where labels would stand, in pixels.
        room: The height of a label.
        ends: The lowest and the highest place.

    >>> spread_places([10.0, 11.0, 50.0], 10.0, (0.0, 100.0))
    [5.5, 15.5, 50.0]
    """
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    blocks: list[list[float]] = []  # the mean place and the number of labels of each block
    for at in order:
        blocks.append([wanted[at], 1.0])
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < room * (blocks[-1][1] + blocks[-2][1]) / 2:
            (upper, more), (lower, many) = blocks.pop(), blocks.pop()
            blocks.append([(lower * many + upper * more) / (many + more), many + more])
    places = [middle + (number - (size - 1) / 2) * room for middle, size in blocks for number in range(int(size))]
    if places and places[-1] > ends[1]:
        places = [min(place, ends[1] - room * (len(places) - 1 - number)) for number, place in enumerate(places)]
    if places and places[0] < ends[0]:
        places = [max(place, ends[0] + room * number) for number, place in enumerate(places)]
    found = [0.0] * len(wanted)
    for place, at in zip(places, order, strict=True):
        found[at] = place
    return found


def log_places(
    ends: tuple[float, float], room: float, width: Callable[[float], float], others: Sequence[float] = ()
) -> list[float]:
    """Numbers on a logarithmic axis whose labels do not touch: 1, 2 and 5 of each power of ten, or fewer.

    Args:
        ends: The axis, above 0.
        room: Its length.
        width: How wide a number's label is.
        others: Round numbers, for an axis within one power of ten.

    >>> log_places((1000, 100_000), 200, lambda at: 20), log_places((1000, 100_000), 80, lambda at: 20)
    ([1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100000.0], [1000.0, 10000.0, 100000.0])
    """
    powers = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    dense = [[digit * 10.0**power for power in powers for digit in digits] for digits in ((1, 2, 5), (1, 3), (1,))]
    offers = [dense[0], others, *dense[1:], *([10.0**power for power in powers[::step]] for step in (2, 3, 5))]
    each = room / math.log(ends[1] / ends[0])
    found = [[at for at in offer if ends[0] * (1 - 1e-9) <= at <= ends[1] * (1 + 1e-9) and at > 0] for offer in offers]
    for offer in found:
        gaps = [(math.log(b / a) * each, (width(a) + width(b)) / 2 + 5) for a, b in itertools.pairwise(offer)]
        if len(offer) > 1 and all(gap >= needed for gap, needed in gaps):
            return offer
    return max(found, key=len)[:1]
