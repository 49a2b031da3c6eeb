"""Environments of reference runners, really built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from openrlb_runners.environment import Environment


def built_environment(name: str, home: Path) -> Environment:
    """A reference runner's CPU environment below ``home``; the test is skipped where torch's CPU wheel cannot be had."""
    from openrlb.errors import BuildError
    from openrlb_runners.environment import build
    from openrlb_runners.spec import find_runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(home))
        try:
            return build(find_runner(name), "cpu")
        except BuildError as error:
            if "torch" not in error.why:
                raise
            pytest.skip(f"no torch for the {name} runner: {error.why} (PIP_FIND_LINKS names a folder that has it)")
