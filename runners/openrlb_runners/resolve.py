"""What a request means, before anything is trained: every effective hyperparameter, or a refusal with a sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from openrlb import paths
from openrlb.errors import OpenrlbError, SourceError, UsageError
from openrlb.sources.trained import CONFIG, Output, read_output
from openrlb.store.environments import nearest
from openrlb.store.files import unwritable, writing
from openrlb.types import stable_hash
from openrlb_runners.launchers.protocol import Job, JobState, Launcher
from openrlb_runners.request import PinnedRunner, TrainingRequest
from openrlb_runners.run_folder import SPEC, last_line, stderr_tail

NEEDED = ("algo", "env", "env_kwargs", "seed", "steps", "hyperparameters", "threads", "device")
KINDS = {"env_kwargs": dict, "hyperparameters": dict}
_REGISTRY = """import gymnasium, importlib.util, json
if importlib.util.find_spec("ale_py"):
    import ale_py  # Atari's games are known only then
print(json.dumps(sorted(map(str, gymnasium.registry))))
"""
_WAIT_SECONDS = 0.2


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
        StoreUnwritable: The cache cannot be written.
    """
    subjects = {request.subject: request for request in reversed(requests)}
    found = {subject: _cached(_cache_file(runner, subject)) for subject in subjects}
    missing = {subject: subjects[subject] for subject in reversed(subjects) if found[subject] is None}
    if missing:
        with ExitStack() as stack:
            found |= _asked(runner, missing, launcher or stack.enter_context(_local()))
    return [_for_seed(found[request.subject] or {}, request.seed) for request in requests]


def answered_before(runner: PinnedRunner, request: TrainingRequest) -> dict[str, Any] | None:
    """What :func:`resolve` would answer without asking the runner: an answer that is kept, or None.

    Args:
        runner: What would train.
        request: What is asked for; its seed does not matter.
    """
    return _cached(_cache_file(runner, request.subject))


@contextmanager
def _local() -> Iterator[Launcher]:
    """A local launcher for one question."""
    from openrlb_runners.launchers.local import LocalLauncher

    with LocalLauncher() as launcher:
        yield launcher


def _for_seed(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The configuration for one seed; the seeds derived from another one say nothing."""
    return {**{name: value for name, value in config.items() if name != "seeds"}, "seed": seed}


def _cache_file(runner: PinnedRunner, subject: str) -> Path:
    """Where an answer is kept."""
    return paths.cache_dir() / "resolved" / f"{stable_hash([runner.source, runner.lock, subject], 32)}.json"


def _cached(path: Path) -> dict[str, Any] | None:
    """A kept answer, or None."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) and set(NEEDED) <= set(config) else None


def _asked(runner: PinnedRunner, requests: Mapping[str, TrainingRequest], launcher: Launcher) -> dict[str, dict[str, Any]]:
    """Asks the runner, several requests at a time, and keeps its answers.

    Raises:
        UsageError: It refuses one; of several the first.
    """
    place = paths.cache_dir() / "resolved"
    try:
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=place))
    except OSError as error:
        raise unwritable(place, error) from error
    answers: dict[str, dict[str, Any]] = {}
    refusals: list[OpenrlbError] = []
    try:
        for subject, request in requests.items():
            out = folder / subject
            out.mkdir()
            (out / SPEC).write_text(json.dumps(request.to_spec()), encoding="utf-8")
            arguments = ("--spec", str(out / SPEC), "--out", str(out), "--resolve")
            launcher.submit(Job(f"resolve-{subject}", runner, arguments, out, request.threads))
        for subject, request in requests.items():
            state = _awaited(launcher, f"resolve-{subject}")
            try:
                answers[subject] = _answer(runner, request, state, folder / subject)
            except OpenrlbError as error:
                refusals.append(error)
        for subject, config in answers.items():
            with writing(_cache_file(runner, subject)) as temporary:
                temporary.write_text(json.dumps(config), encoding="utf-8")
    except OSError as error:
        raise unwritable(place, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if refusals:
        raise refusals[0]
    return answers


def _awaited(launcher: Launcher, job: str) -> JobState:
    """How a job ended."""
    while not (state := launcher.state(job)).is_over:
        launcher.wait(_WAIT_SECONDS)
    launcher.forget(job)
    return state


def _answer(runner: PinnedRunner, request: TrainingRequest, state: JobState, folder: Path) -> dict[str, Any]:
    """The configuration that the runner wrote, or its refusal.

    Raises:
        UsageError: It refuses the request.
        SourceError: It broke.
    """
    what = f"{request.algo} on {request.env} cannot be trained"
    tail = stderr_tail(folder)
    said = last_line(tail) or "it said nothing"
    if state.code == 3:
        known = _registry(runner)
        close = nearest(request.env, known)
        fix = f"did you mean {' or '.join(close)}?" if close else "name an environment by its full id, for instance Hopper-v5"
        if request.env in known:
            fix = "change its arguments (--env-set), or install what it needs"
        raise UsageError(what, said, fix)
    if state.code == 2:
        raise UsageError(what, said, "change the request: --set, --hyperparameters, another algorithm or environment")
    if state.code == 5:
        raise SourceError(what, f"out of memory: {said}", "ask for less: a smaller buffer, fewer environments")
    output = read_output(folder)
    if state.code != 0 or output.config is None:
        ended = state.reason or (f"signal {state.signal}" if state.signal else f"exit code {state.code}")
        why = f"the runner {runner.name} ended with {ended}: {said}" if state.code != 0 else f"it wrote no {CONFIG}"
        raise SourceError(what, why, f"look at the runner: openrlb runner check {runner.name}")
    _check_version(runner, request.env, what)
    return _checked(runner, request, output, what)


def _check_version(runner: PinnedRunner, env: str, what: str) -> None:
    """Refuses a name that gymnasium only completes: which version was trained would stand nowhere.

    Raises:
        UsageError: The name has versions, and none was named.
    """
    if re.search(r"-v\d+$", env):
        return
    known = _registry(runner)
    versions = [name for name in known if re.fullmatch(re.escape(env) + r"-v\d+", name)]
    if versions and env not in known:
        raise UsageError(what, "its version is not named", f"name one: --env {' or '.join(versions)}")


def _checked(runner: PinnedRunner, request: TrainingRequest, output: Output, what: str) -> dict[str, Any]:
    """The configuration, held against the request.

    Raises:
        SourceError: It is not what the contract says.
        UsageError: The runner would apply another value than the one asked for.
    """
    config = output.config or {}
    wrong = [name for name in NEEDED if name not in config or not isinstance(config[name], KINDS.get(name, object))]
    if wrong:
        why = f"the runner {runner.name} wrote a {CONFIG} without a usable {', '.join(wrong)}"
        raise SourceError(what, why, f"mend the runner: openrlb runner check {runner.name}")
    spec = request.to_spec()
    ignored = [line for name in NEEDED for line in ignored_values(name, spec[name], config[name])]
    if ignored:
        fix = "ask for what it can apply, or leave it out"
        raise UsageError(what, f"the runner {runner.name} would not apply what was asked for: {'; '.join(ignored[:5])}", fix)
    return config


def ignored_values(name: str, asked: Any, applied: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    """What was asked for and would not be applied; what is applied beside it is nobody's concern.

    A value of another kind is the runner's own way to write it (``normalize = true`` becomes what is normalised). A name that
    the runner takes without a word is refused: whatever its value, runs would have one id.

    >>> ignored_values("h", {"lr": 0.1, "net": {"arch": [64]}}, {"lr": 0.1, "net": {"arch": [32], "act": "relu"}})
    ['h.net.arch would be [32], not [64]']
    >>> ignored_values("h", {"lr": 0.1}, {})
    ['h.lr is not named in config.json']
    """
    if isinstance(asked, Mapping) and isinstance(applied, Mapping):
        lines = [f"{name}.{key} is not named in {CONFIG}" for key in asked if key not in applied]
        both = [key for key in asked if key in applied]
        return lines + [line for key in both for line in ignored_values(f"{name}.{key}", asked[key], applied[key])]
    if asked == applied or _kind(asked) != _kind(applied):
        return []
    return [f"{name} would be {json.dumps(applied, default=str)[:60]}, not {json.dumps(asked, default=str)[:60]}"]


def _kind(value: object) -> str:
    """What a JSON value is; there is one kind of number."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _registry(runner: PinnedRunner) -> list[str]:
    """The environments that gymnasium knows inside the runner's environment; none where there is no gymnasium."""
    from openrlb_runners.environment import child_variables

    try:
        done = subprocess.run(
            [str(runner.python), "-c", _REGISTRY], env=child_variables(1), capture_output=True, text=True, timeout=120, check=True
        )
        return [str(name) for name in json.loads(done.stdout.splitlines()[-1])]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []
