"""Where labels stand that would lie on each other."""

from __future__ import annotations


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
