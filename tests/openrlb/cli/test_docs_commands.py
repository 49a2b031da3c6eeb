"""Every command and Python block of README and docs does what it says; what cannot be run here is listed with the reason."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from documented import PROGRAMS, ROOT, blocks, inline_commands, pages
from studied import Studied
from typer.testing import CliRunner, Result

from openrlb.cli.app import app, verbs

Cli = Callable[..., Result]
PAGES = {page.relative_to(ROOT).as_posix(): blocks(page) for page in pages()}

PLANNED = r"openrlb (run|tune) (?!.*(--dry-run|--resolve|--impl (mine|stream_x)|--from|--launcher (slurm|ray)))"
"""What trains for minutes to hours: its plan is made, with ``--dry-run``; of case studies the flags are parsed."""
CASE_STUDIES = ("docs/case-study-", "docs/single-file.md", "docs/study-")
NOT_RUN = {
    r"openrlb fetch .*(cleanrl|wandb:|--orlb-filter|hf://|https?://)": "needs the network, and a W&B key for W&B",
    r"openrlb --store ": "needs a web server with a store",
    r"openrlb (run|tune) .*(--impl (mine|stream_x)|--from)": "trains with a runner that has to be built",
    r"openrlb (worker|reproduce) ": "trains",
    r"openrlb (cancel |status .*--watch|(run|tune) .*--launcher (slurm|ray))": "needs work that goes on, or a cluster",
    r"openrlb runner (add|install|lock|check|remove) ": "builds an environment from an index of packages",
    r"openrlb runner new .*--from-git": "needs somebody's repository",
    r"openrlb .*(--impl mine|--impl stream_x|single_file|gae_lambda|noise=|ppo@)": "its runs take long to train",
    r"openrlb .*(cleanrl|atari|--recipe single-file|study\.db)": "needs runs that have to be fetched or trained",
    r"openrlb (compare|plot) .*study:": "names a study of its own, as study show prints them",
}
"""What is parsed only (every flag exists and has its value), by what it begins with, and why."""

LOOKING = r"openrlb (run|tune|list|show|query|plot|compare|power|report|study|doctor)\b(?!.*--save-recipe)"
WORKED: set[str] = set()
"""Commands that an earlier page had; those that change nothing are not run twice."""
NAMED_RUN = r"\bRUN\b"
FILES_SCORES = {"Hopper": [0.5, 0.7, 0.6], "Walker2d": [0.2, 0.4, 0.3]}


def _own_files(work: Path) -> None:
    """The files that the pages name as the reader's own."""
    steps = range(1000, 11_000, 1000)
    rows = [(seed, step, seed * 10 + step / 100) for seed in (1, 2, 3) for step in steps]
    head = "agent,task,seed,frames,step,score,return\n"
    (work / "results.csv").write_text(head + "".join(f"mine,Hopper-v5,{a},{b},{b},{c},{c}\n" for a, b, c in rows))
    (work / "scores.json").write_text(json.dumps(FILES_SCORES))
    (work / "space.toml").write_text("[ppo]\nlearning_rate = { log = [1e-5, 2e-3], default = 3e-4 }\n")
    (work / "curves").mkdir()
    for seed in (1, 2, 3):
        np.save(work / "curves" / f"TD3_Hopper-v5_{seed}.npy", np.arange(10.0) * seed)
    for seed in (1, 2, 3):
        folder = work / "logs" / "ppo" / f"Hopper-v5_{seed}"
        folder.mkdir(parents=True)
        lines = "".join(f"{seed * 10 + number},100,{number}.0\n" for number in range(50))
        (folder / "0.monitor.csv").write_text('#{"t_start": 1.0, "env_id": "Hopper-v5"}\nr,l,t\n' + lines)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory, whole_study: Studied) -> tuple[Path, Path]:
    """A home with the packaged sample and a study, and a folder with a reader's own files."""
    home, work = tmp_path_factory.mktemp("furnished") / "home", tmp_path_factory.mktemp("own")
    shutil.copytree(whole_study.home, home, symlinks=True)
    _own_files(work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(home))
        patch.chdir(work)
        assert CliRunner().invoke(app, ["fetch", "sample"]).exit_code == 0
    return home, work


@pytest.fixture
def reader(furnished: tuple[Path, Path], isolation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's home and folder, as in the fixture above, to be changed."""
    for source, target in zip(furnished, (isolation, Path.cwd()), strict=True):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setenv("COLUMNS", "130")
    for verb in ("PLOT", "COMPARE", "REPORT"):  # fewer than the default: these tests look at words, not at numbers
        monkeypatch.setenv(f"OPENRLB_{verb}_RESAMPLES", "500")


def _filled(command: str, study: str) -> str:
    """A command with a run and a study that are there for those that it names."""
    if re.search(NAMED_RUN, command):
        from openrlb.store import Store

        command = re.sub(NAMED_RUN, str(Store().runs()[0].columns["run"]), command)
    return re.sub(r"\bSTUDY\b|ppo-CartPole-v1(-tpe-\w+)?|(?<=study report )ppo\b|(?<=study report)(?= -o)", f" {study} ", command)


@cache
def _verbs() -> dict[str, Any]:
    """The verbs by name."""
    return dict(verbs(typer.main.get_command(app)))


def _parses(words: list[str]) -> str:
    """What is wrong with a command's flags; empty where the program takes them."""
    named = _verbs()
    words = [words[0], *words[3:]] if words[1:2] == ["--store"] else words
    name = ".".join(words[1:3]) if ".".join(words[1:3]) in named else ".".join(words[1:2])
    if name not in named:
        return "" if words[1:2] in ([], ["--help"], ["--version"]) else "no such verb"
    verb: Any = named[name]
    try:
        verb.make_parser(verb.context_class(verb, info_name=name)).parse_args(words[1 + len(name.split(".")) :])
    except Exception as error:  # typer exports no class for it
        return str(error)
    return ""


def _wrong(cli: Cli, command: str, study: str, page: str = "") -> tuple[str, str]:
    """What is wrong with a command, and what it said."""
    if re.match(PLANNED, command):
        if page.startswith(CASE_STUDIES):
            return _parses(shlex.split(command)), ""
        command = re.sub(r" (-o|--output) \S+", "", command) + " --dry-run"
    words = shlex.split(_filled(command, study))
    program, redirected = words[0], None
    if ">" in words:
        words, redirected = words[: words.index(">")], words[words.index(">") + 1]
    if program != "openrlb":
        return _wrong_elsewhere(words), ""
    wrong = _parses(words)
    reason = next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command)), None)
    if wrong or reason:
        return wrong, ""
    done = cli(*words[1:])
    if redirected:
        Path(redirected).write_text(done.stdout)
    return ("" if done.exit_code == 0 else f"exit {done.exit_code}: {done.output[-600:]}"), done.output


def _wrong_elsewhere(words: list[str]) -> str:
    """What is wrong with a command of another program, which is not run: it names what is not there."""
    if words[0] not in PROGRAMS:
        return f"no program that is known here: {words[0]}"
    if words[0] == "just":
        recipes = re.findall(r"^(\w+).*:", (ROOT / "justfile").read_text(), re.MULTILINE)
        return "" if all(word in recipes for word in words[1:2]) else "no such recipe"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    unknown = [name for word in words for name in re.findall(r"\[(\w+)\]", word) if name not in extras]
    missing = [word for word in words if word.startswith(("benchmarks/", "tests/", "runners/")) and not (ROOT / word).exists()]
    return f"not here: {unknown + missing}" if unknown or missing else ""


@pytest.mark.parametrize("name", [name for name, found in PAGES.items() if any(block.commands() for block in found)])
def test_every_command_of_a_page_does_what_it_says(name: str, reader: None, cli: Cli, whole_study: Studied) -> None:
    bad = []
    for block in PAGES[name]:
        for command in block.commands():
            if command in WORKED and re.match(LOOKING, command):
                continue
            wrong, _ = _wrong(cli, command, whole_study.name, name)
            bad += [f"{name}:{block.line}: {command}\n    {wrong}"] if wrong else []
            WORKED.add(command)
    assert not bad, "\n".join(bad)


def test_commands_in_sentences_have_verbs_and_flags_that_there_are() -> None:
    bad = []
    for page in pages():
        for command in inline_commands(page):
            words = [word for word in command.replace("...", "").replace("\\|", "").split() if word]
            while words[1:] and words[1] in ("--debug", "-v", "-q"):
                del words[1]
            wrong = "" if words[1:2] in ([], ["VERB"]) or words[-1] == "VERB" else _parses(words)
            bad += [f"{page.name}: {command}: {wrong}"] if wrong else []
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("name", [name for name, found in PAGES.items() if any(block.language == "python" for block in found)])
def test_every_python_block_of_a_page_runs(name: str, reader: None) -> None:
    names: dict[str, Any] = {}
    for block in PAGES[name]:
        if block.language == "python":
            exec(compile(block.text, f"{name}:{block.line}", "exec"), names)


@pytest.mark.parametrize(
    "name", [name for name, found in PAGES.items() if any(one.text.startswith("$ openrlb") for one in found)]
)
def test_what_a_page_shows_of_a_command_is_what_it_prints(
    name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, whole_study: Studied
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = "".join(block.text for block in PAGES[name] if block.text.startswith("$ openrlb"))
    for part in re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        on_a_terminal = " --format table" if command.startswith(("openrlb list", "openrlb plot")) else ""
        wrong, said = _wrong(cli, command + on_a_terminal, whole_study.name)
        assert not wrong, f"{command}: {wrong}"
        printed = [" ".join(line.split()) for line in said.splitlines()]
        missing = [line for line in lines if line.strip() not in ("", "...") and not _in(line, printed)]
        assert not said or not missing, f"{command}: {missing}\nprinted:\n{said}"


def _in(line: str, printed: list[str]) -> bool:
    """Whether a line was printed; ``...`` in it stands for what was left out."""
    pattern = r".*".join(re.escape(" ".join(part.split())) for part in line.split("..."))
    return any(re.fullmatch(pattern, one.strip()) for one in printed)


def test_the_figure_of_the_readme_is_what_its_own_command_makes(cli: Cli) -> None:
    kept = (ROOT / "docs/figures/hopper.svg").read_text()
    [command] = re.findall(r"<dc:source>(.+)</dc:source>", kept)
    assert f"`{command}`" in (ROOT / "README.md").read_text()
    assert cli("fetch", "--env", "Hopper").exit_code == 0
    assert cli(*shlex.split(command)[1:]).exit_code == 0
    now = Path(shlex.split(command)[-1]).read_text()
    drawn = [re.findall(r"<dc:description>.*?</dc:description>", text, re.DOTALL) for text in (kept, now)]
    assert drawn[0] == drawn[1] != []


def test_the_list_of_what_is_not_run_names_nothing_in_vain() -> None:
    commands = [command for found in PAGES.values() for block in found for command in block.commands()]
    unused = [pattern for pattern in NOT_RUN if not any(re.match(pattern, command) for command in commands)]
    assert not unused
