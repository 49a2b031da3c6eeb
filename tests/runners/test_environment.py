"""Environments."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from openrlb_runners.environment import child_variables, find
from openrlb_runners.spec import find_runner

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment


def test_the_sb3_environment_is_found_and_imports_what_it_trains_with(sb3_environment: Environment) -> None:
    found = find(find_runner("sb3"), "cpu")
    assert found is not None
    assert found.lock == sb3_environment.lock
    code = "import torch, stable_baselines3, sb3_contrib, gymnasium; print(torch.get_num_threads(), torch.__version__)"
    done = subprocess.run([found.python, "-c", code], env=child_variables(1), capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "1"
