"""What a person mistypes: each of typer's own complaints is openrlb's three lines and exit code 2, and names what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "what", "why", "fix"),
    [
        ("list --algos ppo", "there is no flag --algos", "openrlb list takes no such flag", "did you mean --algo"),
        ("list --quiet", "--quiet stands behind the verb", "goes before the verb", "openrlb --quiet list ..."),
        (
            "list --store s3://somewhere",
            "--store stands behind the verb",
            "goes before the verb",
            "openrlb --store https://... list ...",
        ),
        ("study show x --debug", "--debug stands behind the verb", "goes before the verb", "openrlb --debug study show ..."),
        ("--xxxxxxxxxxxx list", "there is no flag --xxxxxxxxxxxx", "openrlb takes", "openrlb -h"),
        ("compar", "there is no verb 'compar'", "openrlb has: compare", "did you mean compare?"),
        ("study shwo", "there is no verb 'shwo'", "openrlb study has: list", "did you mean show?"),
        (
            "plot --interval percentle",
            "--interval does not take 'percentle'",
            "calibrated, percentile",
            "did you mean percentile?",
        ),
        ("plot --level x", "--level does not take 'x'", "it is no number", "openrlb plot -h"),
        ("plot --ddof 5", "--ddof does not take '5'", "less than or equal to 1", "openrlb plot -h"),
        ("tune ppo --budget x", "--budget does not take 'x'", "it is no whole number", "openrlb tune -h"),
        ("run ppo --seeds 3:8", "--seeds does not take '3:8'", "it is no whole number", "seeds 1 to N; for others --seed 3-8"),
        ("run ppo --seeds 11,12", "--seeds does not take '11,12'", "it is no whole number", "for others --seed 11 --seed 12"),
        ("plot --by", "--by needs a value", "given none", "--by VALUE"),
        ("fetch --system=3", "--system takes no value", "given one", "--system alone"),
        ("show", "RUN is missing", "openrlb show needs RUN: a run's id", "openrlb show RUN"),
        ("runner add", "PATH is missing", "openrlb runner add needs PATH", "openrlb runner add PATH"),
        ("plot extra", "extra was not understood", "openrlb plot takes flags only", "openrlb plot -h"),
        ("show a b", "b was not understood", "openrlb show takes RUN", "openrlb show -h"),
    ],
)
def test_what_is_mistyped_is_three_lines(cli: Cli, words: str, what: str, why: str, fix: str) -> None:
    done = cli(*words.split())
    lines = done.stderr.splitlines()
    assert done.exit_code == 2 and len(lines) == 3 and not done.stdout, done.output
    assert lines[0] == f"error: {what}"
    assert lines[1].startswith("  why: ") and why in lines[1]
    assert lines[2].startswith("  fix: ") and fix in lines[2]


def test_a_value_that_was_not_typed_is_told_with_where_it_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENRLB_PLOT_LEVEL", "high")
    done = cli("plot")
    assert done.exit_code == 2 and "--level does not take 'high'" in done.stderr
    assert "it comes from the environment variable OPENRLB_PLOT_LEVEL" in done.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[plot]\nlevl = 0.9", "{file} sets levl in [plot]"),
        ("[plott]\nlevel = 0.9", "{file} has a table [plott]"),
        ("[plot]\nlevel = 'high'", "it is no number (it comes from {file})"),
        ("[runner.install]\ntorch-source = 3\nvariant = 1", "{file} sets variant in [runner.install]"),
    ],
)
@pytest.mark.parametrize("of_user", [True, False])
def test_a_setting_is_blamed_on_the_file_that_it_stands_in(cli: Cli, isolation: Path, text: str, why: str, of_user: bool) -> None:
    mine, other = isolation / "config.toml", Path("openrlb.toml").absolute()
    mine, other = (mine, other) if of_user else (other, mine)
    mine.write_text(text)
    other.write_text("[plot]\nddof = 0\n")
    done = cli("plot")
    assert done.exit_code == 2 and why.format(file=mine) in done.stderr and str(other) not in done.stderr


def test_a_variable_that_no_flag_reads_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENRLB_PLOT_LEVL",
        "OPENRLB_INSTALL_TORCH",
        "OPENRLB_PLOT_LEVEL",
        "OPENRLB_RUNNER_INSTALL_TORCH",
        "OPENRLB_FORMAT",
    ):
        monkeypatch.setenv(name, "csv")
    told = cli("--quiet", "list").stderr.splitlines()
    assert told[0].startswith("warning: the environment variable OPENRLB_INSTALL_TORCH sets nothing: did you mean OPENRLB_")
    assert told[1] == "warning: the environment variable OPENRLB_PLOT_LEVL sets nothing: did you mean OPENRLB_PLOT_LEVEL?"
    assert not [line for line in told[2:] if line.startswith("warning:")]


def test_a_variable_of_a_verb_within_a_verb_is_named_whole(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENRLB_STUDY_SHOW_FORMAT", "x")
    assert "sets nothing: did you mean" in cli("study", "list").stderr, "OPENRLB_FORMAT is its variable"
    monkeypatch.delenv("OPENRLB_STUDY_SHOW_FORMAT")
    monkeypatch.setenv("OPENRLB_STUDY_EXPORT_SEEDS", "x")
    assert "it comes from the environment variable OPENRLB_STUDY_EXPORT_SEEDS" in cli("study", "export", "a").stderr


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("fetch", "--env", "Pong"), "fix: name what is there, for instance --env "),
        (("fetch", "--seed", "999"), "fix: leave out a flag that narrows the selection"),
        (("query", "SELEC"), "over the views runs, params, scores, trials, studies, requirements, points"),
    ],
)
def test_what_is_there_is_named(cli: Cli, words: tuple[str, ...], fix: str) -> None:
    assert fix in cli(*words).stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [(), ("study",), ("runner",)])
def test_no_words_show_the_help_and_not_an_error(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert done.exit_code == 2 and "Usage" in done.output and "error:" not in done.output
