"""The conformance suite: whether a runner keeps the contract that its runs are believed by.

Each line is a promise of the contract (DESIGN, Runners), tried on the smallest training that ``runner.toml`` names under
``[check]``, through the launcher that real runs go through. What cannot be provoked is said, not passed over.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openrlb.sources.trained import CONFIG, DONE, METRICS, Output, read_output
from openrlb.types import Finding
from openrlb_runners.checking import read_rows, rows_digest
from openrlb_runners.launchers.protocol import Job, JobState, Launcher
from openrlb_runners.request import PinnedRunner
from openrlb_runners.resolve import NEEDED
from openrlb_runners.run_folder import SPEC, differences, last_line, stderr_tail
from openrlb_runners.source_names import defaults_in
from openrlb_runners.spec import Probe, RunnerSpec

FOREVER = 10**9
"""Steps of the run that is killed."""

ROWS_BEFORE_KILL = 3
LONGEST_SECONDS = 600.0
"""A tiny training that takes longer is ended."""

_WAIT_SECONDS = 0.1
RATES = ("learning_rate", "lr", "step_size")
"""Hyperparameters that, a thousand million times too large, make most algorithms diverge."""

NO_ENVIRONMENT, NO_HYPERPARAMETER = "NoSuchEnvironment-v0", "no_such_hyperparameter"
TOGETHER = 8
"""Questions that are put to a runner at the same time."""


@dataclass(frozen=True)
class Tried:
    """One training, or one refusal.

    Attributes:
        state: How its process ended.
        folder: What it wrote.
        output: The same, read as the store reads it.
        said: The end of its standard error.
    """

    state: JobState
    folder: Path
    output: Output
    said: str

    @property
    def config(self) -> Mapping[str, Any]:
        """``config.json``; empty where there is none."""
        return self.output.config or {}

    @property
    def digest(self) -> str:
        """The hash of its episodes and evaluation episodes."""
        return rows_digest(*read_rows(self.folder / METRICS))

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = f"signal {self.state.signal}" if self.state.signal else f"exit code {self.state.code}"
        words = last_line(self.said) or self.state.reason
        return f"{self.state.reason or code}{f': {words}' if words and words != self.state.reason else ''}"

    @property
    def is_whole(self) -> bool:
        """Whether it ended well, and all of its rows can be read."""
        return self.state.code == 0 and self.output.done is not None and not self.output.notes


def _named(tried: Tried) -> Mapping[str, Any]:
    """The hyperparameters that config.json names."""
    held = tried.config.get("hyperparameters")
    return held if isinstance(held, dict) else {}


def _environments(tried: Tried) -> Sequence[Any]:
    """The seeds of the training's environments; none where config.json does not tell them."""
    seeds = tried.config.get("seeds")
    told = seeds.get("env") if isinstance(seeds, dict) else None
    return told if isinstance(told, list) else []


def look_at_contract(runner: PinnedRunner, spec: RunnerSpec, probe: Probe, launcher: Launcher) -> Iterator[Finding]:
    """Tries every promise of the contract, one finding for each. Takes about ten tiny trainings.

    Args:
        runner: The runner, pinned to its environment.
        spec: What its ``runner.toml`` says.
        probe: What to train.
        launcher: Where to train.

    Yields:
        Findings as they come; after a first that failed (nothing can be trained at all) no others.
    """
    with tempfile.TemporaryDirectory(prefix="openrlb-conformance-") as place:
        yield from _Suite(runner, spec, probe, launcher, Path(place)).findings()


class _Suite:
    """The state of :func:`look_at_contract`."""

    def __init__(self, runner: PinnedRunner, spec: RunnerSpec, probe: Probe, launcher: Launcher, place: Path) -> None:
        self.runner, self.spec, self.probe, self.launcher, self.place = runner, spec, probe, launcher, place
        self.count = 0

    def findings(self) -> Iterator[Finding]:
        """Every line."""
        [resolved] = self.tried([{}], "--resolve")
        if resolved.state.code != 0 or not resolved.config:
            yield self.finding("trains", False, f"--resolve: {resolved.ending}", f"mend {self.spec.entry}, or [check]")
            return
        everything = dict(resolved.config.get("hyperparameters") or {})
        seeds: list[dict[str, Any]] = [{}, {}, {"seed": 2}, {"hyperparameters": everything}]
        first, second, other, again = self.tried(seeds)
        yield self.trains(first)
        if not first.is_whole or not read_rows(first.folder / METRICS)[0]:
            return
        yield self.equal("equal seeds", first, second, "find what is not seeded: every random number must come from the seed")
        yield self.differs(first, other)
        yield self.forked(first)
        yield self.seed(first, other)
        yield self.steps(first)
        yield self.configuration(resolved, first, again)
        yield self.evaluation(first)
        yield from self.refusals(resolved)
        yield self.diverges(resolved)
        yield self.killed()

    # --- trying -------------------------------------------------------------------------------------------------------------

    def tried(self, changes: Sequence[Mapping[str, Any]], *words: str, cold: bool = False) -> list[Tried]:
        """What came of requests that differ from the probe, trained at the same time."""
        jobs = [self.submit(change, *words, cold=cold) for change in changes]
        return [self.ended(job, folder, lambda state: state.seconds > LONGEST_SECONDS) for job, folder in jobs]

    def asked(self, changes: Sequence[Mapping[str, Any]]) -> list[Tried]:
        """What requests come to with ``--resolve``, some at the same time."""
        parts = [changes[start : start + TOGETHER] for start in range(0, len(changes), TOGETHER)]
        return [one for part in parts for one in self.tried(part, "--resolve")]

    def submit(self, change: Mapping[str, Any], *words: str, cold: bool = False) -> tuple[str, Path]:
        """Starts one; returns its name and folder."""
        self.count += 1
        folder = self.place / str(self.count)
        folder.mkdir()
        probe = self.probe
        spec = {"format": 1, "algo": probe.algo, "env": probe.env, "seed": 1, "steps": probe.steps, "env_kwargs": {}}
        spec |= {"hyperparameters": dict(probe.hyperparameters), "evaluation": None, "threads": 1, "device": "cpu"}
        (folder / SPEC).write_text(json.dumps({**spec, **change}), encoding="utf-8")
        arguments = ("--spec", str(folder / SPEC), "--out", str(folder), *words)
        runner = replace(self.runner, fork=False) if cold else self.runner
        name = f"conformance-{self.place.name}-{self.count}"
        self.launcher.submit(Job(name, runner, arguments, folder))
        return name, folder

    def ended(self, job: str, folder: Path, enough: Callable[[JobState], bool]) -> Tried:
        """What came of one; it is killed as soon as there is enough of it."""
        import time

        began, asked = time.monotonic(), False
        while not (state := self.launcher.state(job)).is_over:
            self.launcher.wait(_WAIT_SECONDS)
            if not asked and enough(replace(state, seconds=time.monotonic() - began)):
                self.launcher.cancel(job, force=True)
                asked = True
        self.launcher.forget(job)
        return Tried(state, folder, read_output(folder), stderr_tail(folder))

    # --- the promises -------------------------------------------------------------------------------------------------------

    def finding(self, what: str, ok: bool, detail: str, fix: str) -> Finding:
        """One line; a fix only where something is wrong."""
        return Finding(f"{self.probe.algo}: {what}", ok, detail, "" if ok else fix)

    def trains(self, first: Tried) -> Finding:
        """It ends with 0 and leaves every record, and rows that can be read."""
        probe = f"{self.probe.env}, {self.probe.steps:,} steps"
        if first.state.code != 0:
            return self.finding("trains", False, f"{probe}: {first.ending}", f"mend {self.spec.entry}")
        env, done = first.output.env or {}, first.output.done or {}
        wrong = [name for name in NEEDED if name not in first.config]
        problems = list(first.output.notes)
        problems += [f"{CONFIG} lacks {', '.join(wrong)}"] if wrong else []
        kinds = {"python": str, "packages": list}
        problems += [f"env.json lacks {name}" for name, kind in kinds.items() if not isinstance(env.get(name), kind)]
        problems += [] if done else [f"{DONE} was not written"]
        episodes = () if problems else read_rows(first.folder / METRICS)[0]
        if problems:
            return self.finding("trains", False, f"{probe}: {'; '.join(problems)}", f"mend {self.spec.entry}: docs/runners.md")
        if not episodes:
            fix = "name more steps under [check], or see that each episode's end becomes a row"
            return self.finding("trains", False, f"{probe}: no episode ended", fix)
        return self.finding("trains", True, f"{probe}: {len(episodes)} episodes, every record is there", "")

    def equal(self, what: str, first: Tried, second: Tried, fix: str) -> Finding:
        """Two trainings log the same episodes, bit for bit."""
        if not second.is_whole:
            return self.finding(what, False, second.ending, fix)
        one, two = first.digest[:12], second.digest[:12]
        return self.finding(what, one == two, f"episodes hash to {one}" + ("" if one == two else f" and {two}"), fix)

    def differs(self, first: Tried, other: Tried) -> Finding:
        """Another seed is another training."""
        one, two = first.digest[:12], other.digest[:12] if other.is_whole else other.ending
        same = one == two or not other.is_whole
        return self.finding("two seeds differ", not same, f"{one} and {two}", "let the spec's seed reach what is random")

    def forked(self, first: Tried) -> Finding:
        """A forked run is a cold one."""
        what, fix = "forked equals cold", "set fork = false, or find what the first import changes"
        if not self.spec.fork:
            return self.finding(what, True, "fork = false: every run is a new interpreter", "")
        [cold] = self.tried([{}], cold=True)
        return self.equal(what, first, cold, fix)

    def seed(self, first: Tried, other: Tried) -> Finding:
        """The seed that was applied is the one that was asked for."""
        applied = [first.config.get("seed"), other.config.get("seed")]
        detail = f"{CONFIG} says {applied[0]} and {applied[1]} where 1 and 2 were asked for"
        return self.finding("effective seed", applied == [1, 2], detail, f"write the seed that was applied into {CONFIG}")

    def steps(self, first: Tried) -> Finding:
        """What a step counts is declared, and rows and done.json count it."""
        episodes, evaluations = read_rows(first.folder / METRICS)
        unit, done = first.config.get("step_unit"), (first.output.done or {}).get("steps")
        frames = first.config.get("frames_per_step") if unit == "frame" else 1
        length = sum(row[2] for row in episodes) * (frames if isinstance(frames, int) else 1)
        last = max(row[0] for row in (*episodes, *evaluations))
        if unit != self.spec.step_unit:
            problem = f"{CONFIG} says step_unit {unit!r}, runner.toml {self.spec.step_unit!r}"
        elif type(done) is not int or done < self.probe.steps:
            problem = f"{DONE} says {done} steps, {self.probe.steps} were asked for"
        elif last > done:
            problem = f"a row stands at step {last}, but {done} were trained"
        elif length > done:
            problem = f"the episodes' lengths add up to {length}, but {done} steps were trained"
        elif (
            isinstance(frames, int) and len(_environments(first)) == 1 and 0 < length < (ended := max(row[0] for row in episodes))
        ):
            problem = f"the episodes' lengths add up to {length}, but the last of them ended at step {ended}"
        else:
            return self.finding("steps", True, f"{unit}s: {done} trained, the last episode ended at {last}", "")
        return self.finding("steps", False, problem, "count steps in step_unit, over all environments")

    def configuration(self, resolved: Tried, first: Tried, again: Tried) -> Finding:
        """config.json is everything: it is what was resolved, and a training that is asked for all of it is the same one."""
        what, fix = "config.json is complete", f"write every hyperparameter into {CONFIG}, as a request may name it"
        held = first.config.get("hyperparameters")
        if not isinstance(held, dict):
            return self.finding(what, False, "hyperparameters is no object", fix)
        if wrong := differences(resolved.config, 1, first.config):
            return self.finding(what, False, f"--resolve said otherwise: {'; '.join(wrong[:3])}", fix)
        if not again.is_whole:
            return self.finding(what, False, f"asked for all that it holds: {again.ending}", fix)
        if wrong := differences(first.config, 1, again.config):
            return self.finding(what, False, f"asked for all that it holds: {'; '.join(wrong[:3])}", fix)
        if again.digest != first.digest:
            return self.finding(what, False, "asked for all that it holds, it trains otherwise", fix)
        if hidden := self.taken_unnamed(held):
            return self.finding(what, False, f"it takes {', '.join(hidden)} too, and does not name it", fix)
        return self.finding(what, True, f"{len(held)} hyperparameters; asked for all of them it trains the same", "")

    def taken_unnamed(self, held: Mapping[str, Any]) -> list[str]:
        """Hyperparameters that a request may set and config.json does not name, of all names that have a default in its files."""
        known = [(name, value) for name, value in defaults_in(self.runner.sources) if name not in held]
        changes = [{name: value} for name, value in [(NO_HYPERPARAMETER, 1), *known]]
        answers = self.asked([{"hyperparameters": {**self.probe.hyperparameters, **change}} for change in changes])
        found = [(name, one) for change, one in zip(changes, answers, strict=True) for name in change]
        taken = dict.fromkeys(name for name, one in found if one.state.code == 0 and name not in _named(one))
        return [] if NO_HYPERPARAMETER in taken else list(taken)  # where it takes every name, another line says so

    def evaluation(self, first: Tried) -> Finding:
        """Evaluation episodes are logged and disturb nothing, or are refused."""
        asked = {"every": max(1, self.probe.steps // 3), "episodes": 1, "deterministic": True}
        [evaluated] = self.tried([{"evaluation": asked}])
        what, fix = "evaluation", "evaluate with an environment and random numbers of its own, or refuse with exit code 2"
        if evaluated.state.code == 2 and evaluated.said:
            return self.finding(what, True, f"refused: {last_line(evaluated.said)}", "")
        if not evaluated.is_whole:
            return self.finding(what, False, evaluated.ending, fix)
        episodes, evaluations = read_rows(evaluated.folder / METRICS)
        if not evaluations:
            return self.finding(what, False, "it was asked for, and no eval row was written", fix)
        same = episodes == read_rows(first.folder / METRICS)[0]
        detail = f"{len(evaluations)} evaluation episodes; training {'goes on as without' if same else 'is another one'}"
        return self.finding(what, same, detail, fix)

    def refusals(self, resolved: Tried) -> Iterator[Finding]:
        """What has no meaning ends with its exit code and one sentence, before anything is trained."""
        held = _named(resolved)
        name = next((key for key in held if len(key) > 3), "hyperparameter")
        misspelt = name[:-2] + name[-1]
        number = next((key for key, value in held.items() if type(value) in (int, float)), None)
        kind = {number: {"no": "number"}} if number else {}
        asked = self.probe.hyperparameters
        env, algo, spelling, wrong = self.tried(
            [
                {"env": NO_ENVIRONMENT},
                {"algo": f"{self.probe.algo}o"},
                {"hyperparameters": {**asked, misspelt: 1}},
                {"hyperparameters": {**asked, **kind}},
            ],
            "--resolve",
        )
        yield self.refused("unknown environment exits 3", env, 3)
        yield self.algorithms(algo)
        found = self.refused("unknown hyperparameter exits 2", spelling, 2)
        if found.ok and name in held and name not in spelling.said:
            detail = f"{misspelt} is refused, but {name} is not suggested: {last_line(spelling.said)}"
            found = self.finding("unknown hyperparameter exits 2", False, detail, "name the nearest hyperparameter")
        yield found
        if number:
            yield self.refused("bad hyperparameter exits 2", wrong, 2)
        else:
            yield self.finding("bad hyperparameter exits 2", True, "not provoked: none of them is a number", "")

    def algorithms(self, unknown: Tried) -> Finding:
        """An unknown algorithm is refused, and none of those that runner.toml names is refused in the same words."""
        what = "unknown algorithm exits 2"
        found = self.refused(what, unknown, 2)
        before, name, after = last_line(unknown.said).partition(f"{self.probe.algo}o")
        word = re.escape(" ".join(after.split()[:1]))
        if not found.ok or not name:
            return found
        others = [algo for algo in self.spec.algorithms if algo != self.probe.algo]
        # In no environment, so that no model is made for the answer
        answers = self.asked([{"algo": algo, "env": NO_ENVIRONMENT, "hyperparameters": {}} for algo in others])
        missing = [
            algo
            for algo, tried in zip(others, answers, strict=True)
            if tried.state.code == 2 and re.match(rf"{re.escape(before + algo)}\s*{word}(?!\w)", last_line(tried.said))
        ]
        if missing:
            detail = f"runner.toml names {', '.join(missing)}, which {self.spec.entry} does not know"
            return self.finding(what, False, detail, "mend algorithms in runner.toml")
        return found

    def refused(self, what: str, tried: Tried, code: int) -> Finding:
        """A refusal: its exit code, and a sentence that is no traceback."""
        fix = f"end with exit code {code} and one sentence on standard error, with --resolve too"
        ok = tried.state.code == code and bool(tried.said.strip()) and "Traceback" not in tried.said
        return self.finding(what, ok and tried.output.done is None, tried.ending, fix)

    def diverges(self, resolved: Tried) -> Finding:
        """What is not finite ends with exit code 4."""
        what, fix = "divergence exits 4", "look at the weights, and end with exit code 4 where one is not finite"
        rate = next((name for name in RATES if name in _named(resolved)), None)
        change = dict(self.probe.diverging) or ({rate: 1e30} if rate else {})
        if not change:
            return self.finding(what, True, "not provoked: [check] names no diverging hyperparameters", "")
        [tried] = self.tried([{"hyperparameters": {**self.probe.hyperparameters, **change}}])
        told = ", ".join(f"{name} = {value}" for name, value in change.items())
        if not self.probe.diverging and (tried.state.code == 2 or tried.is_whole):
            how = "is refused" if tried.state.code == 2 else "does not make it diverge"
            return self.finding(what, True, f"not provoked: {told} {how}", "")
        ok = tried.state.code == 4 and tried.output.done is None and not tried.output.notes
        return self.finding(what, ok, f"{told}: {tried.ending}", fix)

    def killed(self) -> Finding:
        """After kill -9 every row that was written is whole."""
        job, folder = self.submit({"steps": FOREVER})

        def enough(state: JobState) -> bool:
            path = folder / METRICS
            rows = path.read_bytes().count(b"\n") if path.is_file() else 0
            return rows >= ROWS_BEFORE_KILL or state.seconds > LONGEST_SECONDS

        tried = self.ended(job, folder, enough)
        what, fix = "kill -9 leaves readable logs", f"write {METRICS} line by line (buffering=1), {DONE} last and by rename"
        if tried.state.signal != 9:
            return self.finding(what, False, f"it ended before it was killed: {tried.ending}", fix)
        episodes = sum(len(one.steps) for one in tried.output.metrics)
        problems = [*tried.output.notes, *([] if tried.config else [f"{CONFIG} cannot be read"])]
        problems += [f"{DONE} is there"] if tried.output.done is not None else []
        problems += [] if episodes else ["no row was written"]
        return self.finding(what, not problems, "; ".join(problems) or f"{episodes} values, none torn", fix)
