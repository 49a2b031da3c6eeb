"""What a request means, before anything is trained: every effective hyperparameter, or a refusal with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrlb_runners.launchers.protocol import Launcher
from openrlb_runners.request import PinnedRunner, TrainingRequest


def resolve(runner: PinnedRunner, requests: Sequence[TrainingRequest], launcher: Launcher | None = None) -> list[dict[str, Any]]:
    """The effective configuration of each request: what ``run.py --resolve`` writes as ``config.json``.

    The runner is asked once for requests that differ only in seed and role, all of them at the same time; answers are kept
    in ``cache_dir()/resolved``. The returned configurations hold the request's own seed.

    Args:
        runner: What would train.
        requests: What is asked for.
        launcher: Where to ask; a local one by default.

    Returns:
        One configuration for each request, in their order.

    Raises:
        UsageError: The runner refuses a request (no such algorithm, environment or hyperparameter, an algorithm that does not
            fit), with its sentence and the nearest names; or it would apply other values than those asked for.
        SourceError: The runner broke while it was asked.
    """
    raise NotImplementedError
