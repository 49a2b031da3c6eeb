"""The command line that makes a study again, and the files that it names: a space, baselines and scales of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreUnwritable

if TYPE_CHECKING:
    from openrlb_hpo.records import Baseline, StudyRecord, StudySettings


def tune_command(record: StudyRecord, folder: str = "") -> str:
    """The command line that tunes as a study did: typed where :func:`input_files` lie, it means the same study.

    Args:
        record: The study.
        folder: Where its files lie; the current folder by default.
    """
    from openrlb_hpo.parameters import flattened

    settings = record.settings
    words = ["openrlb", "tune", settings.algo, "--impl", settings.impl]
    words += [word for env in settings.envs for word in ("--env", env)]
    told: dict[str, object] = {
        "budget": record.budget,
        "steps": settings.steps,
        "tuning-seeds": settings.tuning_seeds,
        "confirm": settings.confirm,
        "test-seeds": settings.test_seeds,
        "method": settings.method,
        "space": settings.space_name if _is_packaged(settings) else _in(folder, _space_file(settings)),
        "objective": settings.objective,
        "racing": settings.eta,
        "study-seed": settings.study_seed,
    }
    words += [word for name, value in told.items() for word in (f"--{name}", str(value))]
    for one in settings.baselines:
        words += ["--baseline", _in(folder, one.source) if _is_file(one) else one.name]
    if len(settings.envs) > 1:
        name = scale_name(settings)
        words += ["--normalize", name if _is_known_scale(settings) else _in(folder, _scale_file(settings))]
    for flag, values in (("--set", flattened(settings.fixed)), ("--env-set", settings.env_kwargs)):
        words += [word for key, value in values.items() for word in (flag, f"{key}={json.dumps(value)}")]
    if settings.evaluation is not None:
        words += ["--eval-every", str(settings.evaluation["every"]), "--eval-episodes", str(settings.evaluation["episodes"])]
    started = [str(one["origin"]).removeprefix("study ") for one in settings.first if str(one["origin"]).startswith("study ")]
    words += ["--init-from", started[0]] if started else []
    words += ["--threads", str(settings.threads)] if settings.threads != 1 else []
    words += ["--device", settings.device] if settings.device != "cpu" else []
    words += ["--fresh-test-seeds"] if settings.test_block else []
    return " ".join(map(quote, words))


def input_files(record: StudyRecord) -> dict[str, str]:
    """The files that :func:`tune_command` names, by name: what came from files of the user's own, as the study holds it.

    Args:
        record: The study.
    """
    settings, files = record.settings, {}
    if not _is_packaged(settings):
        files[_space_file(settings)] = _space_text(settings)
    for one in settings.baselines:
        if _is_file(one):
            files[one.source] = _baseline_text(settings.algo, one)
    if len(settings.envs) > 1 and not _is_known_scale(settings):
        name = scale_name(settings)
        files[_scale_file(settings)] = _lines({"name": name}) + "\n[scores]\n" + _lines(settings.scale, dotted=False)
    return files


def write_inputs(record: StudyRecord, folder: Path) -> list[Path]:
    """Writes :func:`input_files`.

    Args:
        record: The study.
        folder: Where; it is made.

    Raises:
        StoreUnwritable: A file cannot be written, or another one of that name is there.
    """
    written = []
    for name, text in input_files(record).items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise StoreUnwritable(f"{path} cannot be written", "another file of that name is there", "name another folder")
            path.write_text(text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise StoreUnwritable(f"{path} cannot be written", why, "name a folder that you can write") from error
        written.append(path)
    return written


def scale_name(settings: StudySettings) -> str:
    """The name of the table by which scores of several environments are comparable, without its version.

    Args:
        settings: The study's.

    >>> from openrlb_hpo.records import StudySettings
    >>> scale_name(StudySettings("ppo", "sb3", "s", "l", ("A", "B"), 1000, {}, "zoo", "d", normalization="my ends v1"))
    'my ends'
    """
    return settings.normalization.rpartition(" v")[0]


def _in(folder: str, name: str) -> str:
    """A file's name in a folder."""
    return str(Path(folder) / name) if folder else name


def _is_packaged(settings: StudySettings) -> bool:
    """Whether the space is the one of its name that comes with openrlb."""
    from openrlb_hpo.space import load_space, packaged_spaces

    if settings.space_name not in packaged_spaces():
        return False
    return load_space(settings.space_name, settings.algo).without(settings.fixed).digest == settings.space_digest


def _is_file(one: Baseline) -> bool:
    """Whether a baseline was declared by a file."""
    return one.source == f"{one.name}.toml"


def _is_known_scale(settings: StudySettings) -> bool:
    """Whether the scale of several environments is known by its name: a table of openrlb, or a frozen one of a later version.

    A user's own file always says that it is the first.
    """
    from openrlb_analysis.normalize import tables

    name, _, version = settings.normalization.rpartition(" v")
    table = tables().get(name)
    if table is None:
        return version != "1"
    return all(table.references(env) is not None for env in settings.envs) and str(table.version) == version


def _space_file(settings: StudySettings) -> str:
    """The name of the space's file."""
    return f"space-{_plain(settings.space_name)}.toml"


def _scale_file(settings: StudySettings) -> str:
    """The name of the scale's file."""
    return f"scores-{_plain(scale_name(settings))}.toml"


def _plain(name: str) -> str:
    """A name as a file may have it.

    >>> _plain("my space/2")
    'my-space-2'
    """
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "mine"


def _space_text(settings: StudySettings) -> str:
    """A space as its file, with what ``--set`` took out of it where other parameters hang on that."""
    space = settings.space
    head = _lines({"name": str(space.get("name", "")), "source": str(space.get("source", ""))})
    return f"{head}\n[{json.dumps(settings.algo)}]\n{_lines({**_fixed_choices(settings), **space['parameters']})}"


def _fixed_choices(settings: StudySettings) -> dict[str, dict[str, list[Any]]]:
    """A choice for every hyperparameter that was set and that a condition or a divisor names."""
    from openrlb_hpo.parameters import flattened

    entries, found = settings.space["parameters"].values(), {}
    for name, value in flattened(settings.fixed).items():
        waited = [one for entry in entries for one in entry.get("when", {}).get(name, [])]
        if waited or any(entry.get("of") == name for entry in entries):
            found[name] = {"choices": [value, *(one for at, one in enumerate(waited) if one != value and one not in waited[:at])]}
    return found


def _baseline_text(algo: str, one: Baseline) -> str:
    """A baseline's file: a table for each environment; TOML has no word for null, which is named in a comment."""
    parts = []
    for env, values in one.hyperparameters.items():
        nulls = "".join(f"# {key} is null, which TOML cannot say\n" for key, value in values.items() if value is None)
        told = {key: value for key, value in values.items() if value is not None}
        parts.append(f"[{json.dumps(algo)}.{json.dumps(env)}]\n{nulls}{_lines(told, dotted=False)}")
    return "\n".join(parts)


def _lines(table: Mapping[str, Any], dotted: bool = True) -> str:
    """A table's lines; a dotted key is one inside another."""
    from openrlb.config import _as_toml as as_toml

    keys = {key: ".".join(map(json.dumps, key.split("."))) if dotted and "." in key else json.dumps(key) for key in table}
    return "".join(f"{keys[key]} = {as_toml(value)}\n" for key, value in table.items())
