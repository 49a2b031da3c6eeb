"""Which seeds a study trains with: roles lie far apart, so that no environment is ever seen under two of them.

Vector environments of many libraries seed environment ``i`` with ``seed + i``. Neighbouring seeds would then share
environments (seeds 0 and 5 of eight environments have three in common), so that a test could repeat what tuning saw.
"""

from __future__ import annotations

from openrlb.errors import UsageError
from openrlb_hpo.records import StudyRole

STRIDE = 1000
"""A run owns the seeds from its own up to this many further ones: more environments than that have no room."""
BLOCK = 1_000_000
"""Test seeds of one block lie before those of the next (``--fresh-test-seeds``)."""
BASES: dict[StudyRole, int] = {"tuning": 100_000_000, "confirm": 200_000_000, "test": 300_000_000}
MOST_SEEDS = BLOCK // STRIDE
MOST_BLOCKS = 100_000_000 // BLOCK


def seed_of(role: StudyRole, index: int, block: int = 0) -> int:
    """The seed that is applied.

    Args:
        role: What the run is for.
        index: Which seed of the role, from 0.
        block: Which block of test seeds.

    Raises:
        UsageError: There are no so many seeds.

    >>> [seed_of("tuning", 2), seed_of("test", 0), seed_of("test", 1, block=2)]
    [100002000, 300000000, 302001000]
    """
    if not 0 <= index < MOST_SEEDS or not 0 <= block < MOST_BLOCKS:
        what = f"seed {index} of block {block}"
        raise UsageError(f"{what} cannot be used", f"a study has {MOST_SEEDS} seeds and {MOST_BLOCKS} blocks", "use fewer seeds")
    return BASES[role] + block * BLOCK + index * STRIDE


def own_seeds(seed: int) -> tuple[int, int]:
    """The seeds that belong to a run: from its own, included, to another, excluded.

    >>> own_seeds(100_000_000)
    (100000000, 100001000)
    """
    return seed, seed + STRIDE


def is_of_study(seed: int) -> bool:
    """Whether a seed is one that studies may have: a plain run with it would look at what is kept for their tests.

    >>> is_of_study(5), is_of_study(300_001_000), is_of_study(2**32 - 1)
    (False, True, False)
    """
    return any(base <= seed < base + MOST_BLOCKS * BLOCK for base in BASES.values())
