"""The wandb mirror: the same rows to Weights & Biases, through its own client. It can fail; the run cannot because of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from openrlb.errors import UsageError
from openrlb.types import Run, RunState

Mode = Literal["off", "offline", "online"]
MIRRORED = "openrlb"
"""The key of a mirror's config that says which run it mirrors; ``sources/tracked.py`` reads it."""

STEP = "global_step"
"""The column that holds the step in wandb, as CleanRL and Stable-Baselines3 name it."""


def checked_mode(mode: str) -> Mode:
    """A mirror mode by its name.

    Raises:
        UsageError: No such mode.
    """
    modes: dict[str, Mode] = {"off": "off", "offline": "offline", "online": "online"}
    if mode not in modes:
        raise UsageError(f"wandb={mode!r} is no mode of the mirror", "it is off, offline or online", "leave it out for off")
    return modes[mode]


class Mirror:
    """One wandb run that receives what a tracked run logs.

    Args:
        mode: ``offline`` writes a ``.wandb`` file, ``online`` sends; ``off`` does nothing.
        record: What the run is.
        warn: Called once, with a sentence, when wandb fails; from then on nothing more is mirrored.
        of_this_process: False where another process trains: this one's output, source and hardware say nothing of the run.
    """

    def __init__(self, mode: Mode, record: Run, warn: Callable[[str], None], of_this_process: bool = True) -> None:
        self._warn = warn
        self._of_this_process = of_this_process
        self._run: Any = None
        if mode == "offline" or mode == "online":
            self._try(lambda: self._start(mode, record))

    @property
    def is_on(self) -> bool:
        """Whether there is a wandb run, and it has not failed."""
        return self._run is not None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Mirrors one row."""
        if self.is_on:
            self._try(lambda: self._run.log({STEP: step, **values}))

    def finish(self, state: RunState) -> None:
        """Ends the wandb run: as finished, or as failed."""
        if self.is_on:
            self._try(lambda: self._run.finish(exit_code=0 if state in ("finished", "unknown") else 1))

    def _start(self, mode: Literal["offline", "online"], record: Run) -> None:
        """Opens the wandb run."""
        import wandb

        settings: dict[str, Any] = {"algo": record.algo, "env": record.env, "seed": record.seed}
        # what a reader of the mirror cannot see in wandb's own records
        settings[MIRRORED] = {"run": record.run, "impl": record.impl, "step_unit": record.step_unit}
        apart = None
        if not self._of_this_process:
            apart = wandb.Settings(console="off", disable_git=True, disable_code=True, x_disable_stats=True, silent=True)
        self._run = wandb.init(
            mode=mode,
            project=record.project,
            name=record.name,
            group=f"{record.algo}-{record.env}",
            tags=list(record.tags),
            config={**settings, **record.config},
            reinit="create_new",
            settings=apart,
        )
        self._run.define_metric("*", step_metric=STEP)

    def _try(self, act: Callable[[], object]) -> None:
        """Acts; a failure is told once and ends the mirror, never the training."""
        try:
            act()
        except Exception as error:  # whatever the client raises, a row is already safe in the run folder
            self._run = None
            why = " ".join(str(error).split())[:200]
            self._warn(f"wandb failed ({type(error).__name__}: {why}); the run goes on and is kept in the store only")
