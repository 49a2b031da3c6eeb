"""``openrlb runner new|add|remove`` and ``runner check --conformance``: what a person types and sees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_runner import write_own
from typer.testing import Result

from openrlb.errors import NetworkError

Cli = Callable[..., Result]


def row(cli: Cli, name: str) -> dict[str, Any]:
    """The runner's row of the list."""
    found: list[dict[str, Any]] = json.loads(cli("runner", "list", "--json").stdout)
    return next(one for one in found if one["name"] == name)


def test_from_nothing_to_runs_and_back(cli: Cli, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "mine").folder
    added = cli("runner", "add", folder, "--json")
    assert added.exit_code == 0, added.stderr
    told = json.loads(added.stdout)
    assert (told["registered"], told["locked"], len(told["findings"])) == (True, False, 14)
    assert "next: openrlb run walk --impl mine --env Line-v0" in added.stderr
    assert (row(cli, "mine")["conformance"], row(cli, "mine")["folder"]) == ("passed", str(folder))
    words = ("run", "walk", "--impl", "mine", "--env", "Line-v0", "--steps", 100, "--json")
    [first] = json.loads(cli(*words).stdout)["runs"]
    assert (first["state"], first["impl"], first["steps"], first["trained"]) == ("finished", "mine", 100, True)
    assert not json.loads(cli(*words).stdout)["runs"][0]["trained"]
    assert json.loads(cli("reproduce", first["run"], "--json").stdout)["verdict"] == "bit-exact"
    with (folder / "contract.py").open("a") as file:
        file.write("# an edit of any file is another runner\n")
    assert row(cli, "mine")["conformance"] == "not checked"
    [second] = json.loads(cli(*words).stdout)["runs"]
    assert second["trained"] and second["run"] != first["run"]
    assert cli("runner", "remove", "mine").exit_code == 0
    assert (folder / "run.py").is_file()
    assert cli(*words).exit_code == 2


def test_a_runner_that_fails_is_not_registered_unless_it_is_forced(cli: Cli, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "mine", changes=[("random.Random(task.seed)", "random.Random(7)")]).folder
    added = cli("runner", "add", folder)
    assert added.exit_code == 1
    assert "PROBLEM\twalk: two seeds differ" in added.stdout
    assert "mine was not registered" in added.stderr
    assert "mine" not in [one["name"] for one in json.loads(cli("runner", "list", "--json").stdout)]
    forced = cli("runner", "add", folder, "--force", "--json")
    assert (forced.exit_code, json.loads(forced.stdout)["registered"]) == (1, True)
    assert row(cli, "mine")["conformance"] == "failed: walk: two seeds differ"
    again = cli("runner", "check", "mine", "--conformance", "--steps", 50, "--json")
    report = json.loads(again.stdout)
    assert (again.exit_code, report["ok"]) == (1, False)
    wrong = [finding for finding in report["findings"] if not finding["ok"]]
    assert [finding["what"] for finding in wrong] == ["walk: two seeds differ"]
    assert wrong[0]["fix"]
    assert any("50 steps" in finding["detail"] for finding in report["findings"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("fork = true", "frok = true"), ["line 7: frok = true", "did you mean fork?"]),
        (('step_unit = "agent_step"', 'step_unit = "episode"'), ["line 9", "step_unit is 'episode'", "agent_step, frame"]),
        (("steps = 100", "steps = 100\nsteps = 200"), ["runner.toml", "line 18"]),
        (('algorithms = ["walk"]', "algorithms = walk"), ["runner.toml", "line 5", "mend that line"]),
        (('name = "mine"', 'name = "sb3"'), ["cannot be named 'sb3'", "a reference runner has it"]),
        (("[check]", "[cost.any]"), ["line 15: algo = ", "cost.any was not understood"]),
        (('entry = "run.py"', 'entry = "train.py"'), ["line 4", "entry 'train.py' is not there"]),
    ],
)
def test_what_is_wrong_with_runner_toml_is_three_lines_with_the_wrong_one(
    cli: Cli, tmp_path: Path, change: tuple[str, str], said: list[str]
) -> None:
    folder = write_own(tmp_path / "mine").folder
    text = (folder / "runner.toml").read_text()
    assert change[0] in text
    (folder / "runner.toml").write_text(text.replace(*change))
    added = cli("runner", "add", folder)
    assert added.exit_code == 2, added.output
    lines = added.stderr.splitlines()
    assert [line[:6] for line in lines] == ["error:", "  why:", "  fix:"]
    assert all(words in added.stderr for words in said), added.stderr


def test_a_runner_without_a_check_has_nothing_to_try(cli: Cli, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "mine").folder
    text = (folder / "runner.toml").read_text()
    (folder / "runner.toml").write_text(text[: text.index("[check]")])
    added = cli("runner", "add", folder)
    assert (added.exit_code, "has no [check]" in added.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new", "sb3"], "a reference runner has it"),
        (["new", "Mine"], "small letters"),
        (["new", "mine", "--only", "src"], "add --from-git"),
        (["new", "mine", "--from-git", "somewhere"], "it names no commit"),
        (["add", "nowhere"], "nowhere"),
        (["add", "."], "runner.toml"),
        (["remove", "sb3"], "ships with openrlb"),
        (["remove", "mine"], "there are: none"),
        (["check", "sb3", "--algo", "ppo"], "add --conformance"),
        (["check", "sb3", "--conformance", "--no-train", "--algo", "ppoo", "--torch", "cpu"], "has no algorithm 'ppoo'"),
        (["check", "sb3", "--conformance", "--no-train", "--algo", "dqn", "--torch", "cpu"], "name --algo, --env and --steps"),
    ],
)
def test_words_without_meaning_are_refused(cli: Cli, words: list[str], said: str) -> None:
    done = cli("runner", *words)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.split())


def test_the_example_trains_as_it_is(cli: Cli, isolation: Path) -> None:
    from openrlb.api.runner_own import add_runner

    made = cli("runner", "new", "mine", "--json")
    assert json.loads(made.stdout)["files"] == ["README.md", "contract.py", "lock/in.txt", "run.py", "runner.toml", "space.toml"]
    assert cli("runner", "new", "mine").exit_code == 2
    try:
        added = add_runner(Path("mine"))
    except NetworkError as error:
        pytest.skip(f"the example's packages cannot be had: {error.why}")
    assert [finding for finding in added.findings if not finding.ok] == []
    assert (added.registered, added.locked, added.not_part) == (True, True, ("README.md", "space.toml"))
    assert "://" not in Path("mine/lock/base.txt").read_text()
    words = (
        "run",
        "hill_climbing",
        "--impl",
        "mine",
        "--env",
        "CartPole-v1",
        "--steps",
        2000,
        "--seeds",
        2,
        "--eval-every",
        1000,
    )
    runs = json.loads(cli(*words, "--json").stdout)["runs"]
    assert [(run["state"], run["impl"]) for run in runs] == [("finished", "mine")] * 2
    space = ("--space", "mine/space.toml", "--steps", 500, "--budget", 4, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 2)
    tuned = cli("tune", "hill_climbing", "--impl", "mine", "--env", "CartPole-v1", *space, "--json")
    assert tuned.exit_code == 0, tuned.stderr
    assert set(json.loads(tuned.stdout)["incumbent"]["params"]) == {"noise", "episodes"}


def test_a_script_of_a_repository_gets_a_folder(cli: Cli, tmp_path: Path) -> None:
    repository = tmp_path / "project"
    repository.mkdir()
    (repository / "train.py").write_text("print('global_step=1, episodic_return=1')\n")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *author, "-C", str(repository), *words], check=True)
    made = cli("runner", "new", "theirs", "--from-git", f"{repository}@HEAD", "--json")
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["repository"], len(told["commit"])) == ("project", 40)
    assert f'COMMIT = "{told["commit"]}"' in Path("theirs/run.py").read_text()
    assert Path("theirs/checkout.tar").is_file()
