"""What the statistics take in: scores and learning curves, from arrays or from long frames, checked once.

One array of scores for each environment, or long rows with the columns group, env, seed, (step,) value. A bare matrix is
refused, since nothing in it says which axis holds the runs: statistics of a transposed one look plausible and are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb.errors import NothingMatched, UsageError
from openrlb_analysis.rules import ScoreRule, parse_rule
from openrlb_analysis.scores import mean_per_step, score

if TYPE_CHECKING:
    from openrlb.types import Steps, Values

_HOW = "hand over one array of scores for each environment: list(matrix.T) if its rows are runs, list(matrix) if its columns are"


def check_tasks(tasks: Sequence[Values] | Mapping[str, Values], what: str = "the scores") -> list[Values]:
    """One array of finite scores for each environment, or an error that says how to hand them over.

    Args:
        tasks: A sequence with one array of scores for each environment, or a mapping from environment to scores.
        what: What they are, for the error's words.

    Returns:
        One double array of shape ``(n_e,)`` for each environment, ``n_e >= 1``.

    Raises:
        UsageError: A bare matrix or a frame, an environment without runs, or a score that is not finite.

    >>> [scores.tolist() for scores in check_tasks({"Pong": [1, 2, 3], "Breakout": [4, 5]})]
    [[1.0, 2.0, 3.0], [4.0, 5.0]]
    >>> check_tasks(np.zeros((10, 26)))
    Traceback (most recent call last):
    ...
    openrlb.errors.UsageError: the scores are a 10 x 26 matrix (it does not say which axis holds the runs); ...
    """
    if not isinstance(tasks, Sequence | Mapping):
        shape = np.shape(tasks)
        if len(shape) == 1:
            raise UsageError(f"{what} are one array", "it does not say of which environments", "hand over [scores] for one")
        many = " x ".join(str(size) for size in shape)
        fix = "use read_scores(frame) for a long frame" if hasattr(tasks, "columns") else _HOW
        raise UsageError(f"{what} are a {many} matrix", "it does not say which axis holds the runs", fix)
    named = tasks if isinstance(tasks, Mapping) else dict(enumerate(tasks, start=1))
    if not named:
        raise UsageError(f"{what} hold no environment", "nothing can be computed from nothing", "hand over one array for each")
    checked = []
    for env, given in named.items():
        scores = np.asarray(given, dtype=np.float64)
        if scores.ndim != 1:
            why = f"environment {env} has the shape {scores.shape}, a run has one score"
            raise UsageError(f"{what} are not one array for each environment", why, _HOW)
        if not len(scores):
            raise UsageError(f"{what} of environment {env} are empty", "no run is there", "leave the environment out")
        if not np.isfinite(scores).all():
            why = f"{int((~np.isfinite(scores)).sum())} of {len(scores)} in environment {env}; a diverged run is an outcome"
            fix = "score_table(..., failure=...) puts diverged runs at a failure score"
            raise UsageError(f"{what} hold values that are not finite", why, fix)
        checked.append(scores)
    return checked


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores by group and environment, diverged runs at the failure score.

    Attributes:
        scores: For each group, for each of its environments, the runs' scores, shape ``(n,)``.
        envs: The environments that every group has: what pooled numbers are over.
        notes: What a reader must know: environments that not every group has, unequal numbers of runs, diverged runs.
    """

    scores: Mapping[str, Mapping[str, Values]]
    envs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def tasks(self, group: str) -> list[Values]:
        """One group's scores in the environments that every group has.

        Raises:
            UsageError: There is no such group, or no environment that every group has.
        """
        if group not in self.scores:
            raise UsageError(f"no group {group!r}", "there are " + ", ".join(self.scores), "name one of these")
        if not self.envs:
            raise UsageError("nothing can be pooled", "no environment has runs of every group", "compare fewer groups")
        return [self.scores[group][env] for env in self.envs]


def score_table(
    groups: Mapping[str, Mapping[str, Sequence[float] | Values]], *, failure: float | Mapping[str, float] | None = None
) -> ScoreTable:
    """Scores by group and environment from plain arrays.

    Args:
        groups: For each group, for each environment, one score for each run; NaN and infinities are diverged runs.
        failure: What a diverged run counts as, for all environments or for each; None for the lowest finite score that
            its group has in the environment, so that another group changes no number (for the lowest of any group
            where its own has none).

    Raises:
        NothingMatched: No group, or one without scores.
        UsageError: Scores that are no list of numbers, or a diverged run with nothing that could stand for it.

    >>> table = score_table({"A": {"Pong": [1.0, float("nan")], "Qbert": [3.0]}, "B": {"Pong": [0.5, 2.0]}})
    >>> table.envs, table.tasks("A")[0].tolist()
    (('Pong',), [1.0, 1.0])
    >>> table.notes[0]
    'A, Pong: 1 of 2 runs diverged and count at 1, the lowest finite score there of A itself'
    """
    if not groups or not all(groups.values()):
        raise NothingMatched("there are no scores", "a group without runs says nothing", "name other runs")
    raw = {group: {env: np.asarray(scores, dtype=np.float64) for env, scores in envs.items()} for group, envs in groups.items()}
    notes: list[str] = []
    done: dict[str, dict[str, Values]] = {group: {} for group in raw}
    for group, by_env in raw.items():
        for env, scores in by_env.items():
            if scores.ndim != 1 or not len(scores):
                why = f"{group}, {env} has the shape {scores.shape}"
                raise UsageError("scores are one number for each run", why, "hand over a list of numbers")
            lost = ~np.isfinite(scores)
            if lost.any():
                floor, which = _failure(group, env, raw, failure)
                scores = np.where(lost, floor, scores)
                notes.append(f"{group}, {env}: {lost.sum()} of {len(scores)} runs diverged and count at {floor:g}, {which}")
            done[group][env] = scores
    shared = tuple(env for env in next(iter(done.values())) if all(env in by_env for by_env in done.values()))
    return ScoreTable(done, shared, (*notes, *_table_notes(done, shared)))


def _failure(
    group: str, env: str, raw: Mapping[str, Mapping[str, Values]], failure: float | Mapping[str, float] | None
) -> tuple[float, str]:
    """What a diverged run of a group counts as in an environment, and which number that is."""
    given = failure.get(env) if isinstance(failure, Mapping) else failure
    if given is not None:
        return float(given), "the failure score given"
    for among, which in (([group], f" of {group} itself"), (list(raw), f" of any group: {group} has none")):
        scores = np.concatenate([raw[one][env] for one in among if env in raw[one]])
        finite = scores[np.isfinite(scores)]
        if len(finite):
            return float(finite.min()), f"the lowest finite score there{which}"
    raise UsageError(f"every run of {env} diverged", "no finite value could stand for them", "give a failure score")


def _table_notes(scores: Mapping[str, Mapping[str, Values]], shared: tuple[str, ...]) -> list[str]:
    """Environments that are not pooled, and unequal numbers of runs."""
    notes = []
    apart = sorted({env for by_env in scores.values() for env in by_env} - set(shared))
    if apart:
        notes.append(f"pooled over {len(shared)} environments; not every group has {', '.join(apart)}")
    counts = {(group, env): len(scores[group][env]) for group in scores for env in shared}
    if len(set(counts.values())) > 1:
        most = max(counts.values())
        fewer = [f"{group}, {env}: {count}" for (group, env), count in counts.items() if count < most]
        notes.append(f"unequal numbers of runs, every environment counts equally (others have {most}): {'; '.join(fewer)}")
    return notes


def _names(frame: Any) -> list[str]:  # noqa: ANN401 - pandas, polars, pyarrow or a mapping
    """The names of any frame's columns."""
    return [str(name) for name in getattr(frame, "column_names", getattr(frame, "columns", frame))]


def _columns(frame: Any, names: Sequence[str]) -> list[Any]:  # noqa: ANN401 - pandas, polars, pyarrow or a mapping
    """The named columns of any frame, as arrays.

    Raises:
        UsageError: A column is missing.
    """
    has = _names(frame)
    if missing := [name for name in names if name not in has]:
        why = f"it has {', '.join(has[:12])}; a frame is long: one row for each value"
        raise UsageError(f"the frame has no column {', '.join(missing)}", why, "rename the columns, or melt a wide frame")
    return [np.asarray(frame[name]) for name in names]


def _runs_of(frame: Any) -> dict[tuple[str, str, str], Any]:  # noqa: ANN401
    """The rows of each (group, env, seed), in the order in which these first appear."""
    keys = zip(*(column.tolist() for column in _columns(frame, ("group", "env", "seed"))), strict=True)
    rows: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault((str(key[0]), str(key[1]), str(key[2])), []).append(row)
    if not rows:
        raise NothingMatched("the frame is empty", "it has no row", "select other runs")
    return rows


def read_scores(
    frame: Any,  # noqa: ANN401 - pandas, polars, pyarrow or a mapping of columns
    *,
    rule: str | ScoreRule = "final:10%",
    at: int | None = None,
    failure: float | Mapping[str, float] | None = None,
) -> ScoreTable:
    """Scores from long rows: one row for each run, or one for each logged value where there is a column step.

    Args:
        frame: Columns group, env, seed, value and perhaps step (pandas, polars, pyarrow, or a mapping of columns).
        rule: How a run's values become its score (:func:`openrlb_analysis.rules.parse_rule`).
        at: The step to cut at; None for the smallest last step of all runs of an environment, so that all runs reach it.
        failure: As in :func:`score_table`.

    Raises:
        NothingMatched: The frame is empty, or no run has a value in the rule's window.
        UsageError: A column is missing, or a run has two scores.

    >>> rows = {"group": ["A", "A", "B"], "env": ["Pong"] * 3, "seed": [0, 1, 0], "value": [1.0, 2.0, 5.0]}
    >>> read_scores(rows).scores["A"]["Pong"].tolist()
    [1.0, 2.0]
    """
    groups: dict[str, dict[str, list[float]]] = {}
    if "step" in _names(frame):
        curves = read_curves(frame)
        chosen = rule if isinstance(rule, ScoreRule) else parse_rule(rule)
        notes = [f"scored by {chosen.text}", *curves.notes]
        for env in dict.fromkeys(env for by_env in curves.runs.values() for env in by_env):
            cut = at if at is not None else min(int(steps[-1]) for one in curves.runs.values() for steps, _ in one.get(env, []))
            notes.append(f"{env}: cut at step {cut}" + ("" if at is not None else ", where the first run ends"))
            for group, by_env in curves.runs.items():
                for steps, values in by_env.get(env, []):
                    found = score(steps, values, cut, chosen).value
                    if found is None:
                        notes.append(f"{group}, {env}: a run has no value in the window of {chosen.text} and is left out")
                    else:
                        groups.setdefault(group, {}).setdefault(env, []).append(found)
        table = score_table(groups, failure=failure)
        return ScoreTable(table.scores, table.envs, (*notes, *table.notes))
    (values,) = _columns(frame, ("value",))
    for (group, env, seed), rows in _runs_of(frame).items():
        if len(rows) > 1:
            why = f"{group}, {env}, seed {seed} has {len(rows)} rows"
            raise UsageError("a run has one score", why, "add a column step, or keep one row for each run")
        groups.setdefault(group, {}).setdefault(env, []).append(float(values[rows[0]]))
    return score_table(groups, failure=failure)


@dataclass(frozen=True, slots=True)
class CurveTable:
    """Learning curves by group and environment.

    Attributes:
        runs: For each group, for each of its environments, one ``(steps, values)`` pair for each run, steps ascending.
        notes: What a reader must know.
    """

    runs: Mapping[str, Mapping[str, list[tuple[Steps, Values]]]]
    notes: tuple[str, ...] = ()

    @property
    def envs(self) -> tuple[str, ...]:
        """The environments that every group has."""
        first, *others = self.runs.values()
        return tuple(env for env in first if all(env in by_env for by_env in others))

    def curves(self, group: str) -> list[list[tuple[Steps, Values]]]:
        """One group's curves in the environments that every group has: what the efficiency curves take."""
        return [self.runs[group][env] for env in self.envs]


def read_curves(frame: Any) -> CurveTable:  # noqa: ANN401 - pandas, polars, pyarrow or a mapping of columns
    """Learning curves from long rows with the columns group, env, seed, step, value; values that share a step are averaged.

    Raises:
        NothingMatched: The frame is empty.
        UsageError: A column is missing.

    >>> rows = {"group": ["A", "A"], "env": ["Pong"] * 2, "seed": [0, 0], "step": [20, 10], "value": [2.0, 1.0]}
    >>> [part.tolist() for part in read_curves(rows).curves("A")[0][0]]
    [[10, 20], [1.0, 2.0]]
    """
    steps, values = _columns(frame, ("step", "value"))
    values = values.astype(np.float64)
    runs: dict[str, dict[str, list[tuple[Steps, Values]]]] = {}
    for (group, env, _), rows in _runs_of(frame).items():
        runs.setdefault(group, {}).setdefault(env, []).append(mean_per_step(steps[rows], values[rows]))
    table = CurveTable(runs)
    apart = sorted({env for by_env in runs.values() for env in by_env} - set(table.envs))
    return CurveTable(runs, (f"not every group has {', '.join(apart)}",) if apart else ())
