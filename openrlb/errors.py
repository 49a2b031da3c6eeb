"""Every error that openrlb raises on purpose, and the exit code each one ends in.

::

    OpenrlbError                    1   something failed
    |-- StoreError                  1   the store cannot be read or written
    |   |-- StoreBusy               1   another openrlb holds the lock
    |   |-- StoreDamaged            1   a file of the store is not what it was
    |   |-- StoreTooNew             1   written by a newer openrlb
    |   `-- StoreUnwritable         1   no permission, no space, or a read-only disk
    |       `-- StoreUnreachable    5   a database server that does not answer, or refuses the credentials
    |-- SourceError                 1   a log file or folder cannot be read
    |-- LockError                   1   a runner's lock is missing, damaged or does not fit
    |-- BuildError                  1   a runner's environment cannot be built from its lock
    |-- LauncherError               1   a batch system refuses a job, or does not answer
    |-- UsageError                  2   the command's words are wrong
    |   |-- ContractBroken          2   a study whose ledger breaks the rules of studies
    |   |-- MapError                2   a --map that does not fit the data
    |   |-- QueryRefused            2   SQL that is not one read-only SELECT
    |   `-- SelectionError          2   a selection or grouping that has no meaning
    |       |-- KindsDiffer         2   runs that share no kind of return
    |       `-- HardwareDiffers     2   wall times of unlike machines
    |-- NothingMatched              3   nothing fits the selection
    |-- CannotReproduce             4   an environment that cannot be rebuilt
    `-- NetworkError                5   no network, or refused credentials

An error says three things: what happened, why, and what the reader can type to fix it. The command line prints
these as three lines on standard error; a traceback comes only with ``--debug``.
"""

from __future__ import annotations


class OpenrlbError(Exception):
    """The root of all errors that openrlb raises on purpose.

    Args:
        what: What did not work, in one sentence.
        why: The cause, as far as it is known.
        fix: What the reader can do about it.

    >>> str(OpenrlbError("no run was read", "the folder is empty", "name a folder with logs"))
    'no run was read (the folder is empty); name a folder with logs'
    """

    exit_code = 1

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.why}); {self.fix}"


class StoreError(OpenrlbError):
    """The store cannot be read or written."""


class StoreBusy(StoreError):
    """Another openrlb holds the store's lock."""


class StoreDamaged(StoreError):
    """A file of the store is missing or not what it was."""


class StoreTooNew(StoreError):
    """The store was written by a newer openrlb."""


class StoreUnwritable(StoreError):
    """The store's folder cannot be written: no permission, no space, a read-only disk."""


class StoreUnreachable(StoreUnwritable):
    """A database server that does not answer, or refuses the credentials."""

    exit_code = 5


class SourceError(OpenrlbError):
    """A log file or folder cannot be read."""


class LockError(OpenrlbError):
    """A runner's lock is missing, damaged, or does not fit what it is for."""


class BuildError(OpenrlbError):
    """A runner's environment cannot be built from its lock."""


class LauncherError(OpenrlbError):
    """A batch system refuses a job, or does not answer."""


class StudyFailed(OpenrlbError):
    """A study ended without a result: nothing that it tried could be trained on all its seeds."""


class UsageError(OpenrlbError):
    """The command's words are wrong."""

    exit_code = 2


class ContractBroken(UsageError):
    """A study whose ledger holds what no study can have come to: no result of it is shown, and it does not go on."""


class MapError(UsageError):
    """A ``--map`` that does not fit the data it is applied to."""


class QueryRefused(UsageError):
    """SQL that is not one read-only SELECT over the store's views."""


class SelectionError(UsageError):
    """A selection or a grouping that has no meaning for the runs at hand."""


class KindsDiffer(SelectionError):
    """Runs that share no kind of return (evaluation, raw episodes, a rolling mean): ``--allow-mixed-kinds`` draws them all."""


class HardwareDiffers(SelectionError):
    """Wall times of runs that were trained on unlike machines: ``--allow-mixed-hardware`` draws them all the same."""


class NothingMatched(OpenrlbError):
    """Nothing fits the selection."""

    exit_code = 3


class CannotReproduce(OpenrlbError):
    """An environment that cannot be rebuilt from what was stored."""

    exit_code = 4


class NetworkError(OpenrlbError):
    """No network, or credentials that are missing or refused."""

    exit_code = 5
