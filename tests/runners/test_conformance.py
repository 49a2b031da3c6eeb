"""The conformance suite: every runner that ships passes it, and each of its lines fails for a runner that breaks its promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_runner import ThisPython
from own_runner import write_own

from openrlb_runners import conformance
from openrlb_runners.conformance import look_at_contract
from openrlb_runners.environment import build
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.locks import lock_files, needed_here, pins_of
from openrlb_runners.request import pin
from openrlb_runners.spec import Probe, RunnerSpec, find_runner, read_runner
from openrlb_runners.template import examples, write_runner

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

LINES = [
    *("trains", "equal seeds", "two seeds differ", "forked equals cold", "effective seed", "steps", "config.json is complete"),
    *("evaluation", "unknown environment exits 3", "unknown algorithm exits 2", "unknown hyperparameter exits 2"),
    *("bad hyperparameter exits 2", "divergence exits 4", "kill -9 leaves readable logs"),
]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLauncher]:
    """One launcher, whose warm servers all probes of a runner share."""
    with LocalLauncher() as opened:
        yield opened


def looked_at(spec: RunnerSpec, launcher: LocalLauncher) -> dict[str, tuple[bool, str]]:
    assert spec.check
    runner = pin(spec, ThisPython())  # type: ignore[arg-type]
    found = list(look_at_contract(runner, spec, spec.check, launcher))
    assert all(finding.ok or finding.fix for finding in found)
    return {finding.what.partition(": ")[2]: (finding.ok, finding.detail) for finding in found}


def test_a_runner_that_keeps_the_contract_passes_every_line(tmp_path: Path, launcher: LocalLauncher) -> None:
    found = looked_at(write_own(tmp_path / "mine"), launcher)
    assert list(found) == LINES
    assert all(ok for ok, _ in found.values()), found
    assert "10 episodes" in found["trains"][1]
    assert "refused: walk has no evaluation" in found["evaluation"][1]
    assert "exit code 4" in found["divergence exits 4"][1]
    assert "did you mean every?" in found["unknown hyperparameter exits 2"][1]


def ask_for_no_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the longest line, which is one request for each name in a runner's files."""
    monkeypatch.setattr(conformance, "defaults_in", lambda files: [])


NUMBERS, HELD = "random.Random(task.seed)", "dataclasses.asdict(self.hyperparameters)"
BREAKS: dict[str, tuple[list[tuple[str, str]], dict[str, str]]] = {
    "careless": (
        [
            (NUMBERS, "random.Random(7)"),
            ('"step_unit": "agent_step"', '"step_unit": "frame"'),
            ('if not task.env.startswith("Line"):', "if False:"),
            ('if spec["algo"] not in algorithms:', "if False:"),
            ("if name not in defaults:", "if name not in defaults:\n            continue\n        if False:"),
            ("elif type(value) is kind", "elif True"),
            ("        task.check_finite(math.sinh(value) if value < 700 else math.inf)\n", ""),
            (
                "        time.sleep(0.001 if task.total > 10**6 else 0)\n",
                "        if task.total > 10**6 and task.episodes == 2:\n"
                '            task.stream.write(\'{"t": "scalar", "step": 1, "k": "a", "v": 1}\\n{"t"\')\n'
                "            time.sleep(1000)\n",
            ),
        ],
        {
            "two seeds differ": " and ",
            "steps": "'frame'",
            "unknown environment exits 3": "exit code 0",
            "unknown algorithm exits 2": "KeyError",
            "unknown hyperparameter exits 2": "exit code 0",
            "bad hyperparameter exits 2": "exit code 1",
            "divergence exits 4": "exit code 0",
            "kill -9 leaves readable logs": "1 rows of metrics.jsonl were torn",
        },
    ),
    "unseeded": (
        [(NUMBERS, "random.SystemRandom()")],
        {"equal seeds": " and ", "forked equals cold": " and ", "config.json is complete": "trains otherwise"},
    ),
    "confused": (
        [
            (NUMBERS, "random.Random(task.seed * (2 + ('runpy' in sys.modules)))"),
            ('"seed": self.applied_seed', '"seed": 1'),
            ("task.episode(value, hyperparameters.every)", "task.episode(value, 50)"),
            ('if self.spec["evaluation"] and act is None:', "if False:"),
            ('if self.spec["evaluation"]:', "if False:"),
            ("no hyperparameter {name}{nearest(name, defaults)}", "no {name}"),
            (HELD, "{'every': 10, 'rate': 0.25}"),
        ],
        {
            "forked equals cold": " and ",
            "effective seed": "says 1 and 1",
            "steps": "add up to 500",
            "evaluation": "no eval row",
            "unknown hyperparameter exits 2": "every is not suggested",
            "config.json is complete": "trains otherwise",
        },
    ),
    "disturbed": (
        [
            ('if self.spec["evaluation"] and act is None:', "if False:"),
            ('if self.spec["evaluation"]:', "if False:"),
            (
                "        task.episode(value, hyperparameters.every)\n",
                "        task.episode(value, hyperparameters.every)\n"
                "        if task.spec['evaluation']:\n            task.row('eval', numbers.random(), 1)\n",
            ),
            (HELD, "{'ratio': 0.25}"),
        ],
        {
            "evaluation": "training is another one",
            "config.json is complete": "no hyperparameter ratio",
            "unknown hyperparameter exits 2": "ratio is not suggested",
        },
    ),
    "secretive": (
        [(HELD, "{'every': self.hyperparameters.every}")],
        {"config.json is complete": "it takes rate too, and does not name it"},
    ),
    "boastful": (
        [('algorithms = ["walk"]', 'algorithms = ["run", "walk"]')],
        {"unknown algorithm exits 2": "runner.toml names run, which run.py does not know"},
    ),
    "skipping": (
        [
            (NUMBERS, "random.Random(task.derived_seed('env'))"),
            ("task.step(hyperparameters.every)", "task.step(4 * hyperparameters.every)"),
        ],
        {"steps": "lengths add up to 30, but the last of them ended at step 120"},
    ),
    "of few words": (
        [
            ('algorithms = ["walk"]', 'algorithms = ["walk", "run", "fly"]'),
            (
                'main({"walk": (train, Hyperparameters)})',
                'main({"walk": (train, Hyperparameters), "fly": (train, Hyperparameters)})',
            ),
            (
                "    if hyperparameters.every < 1:",
                "    if task.algo == 'fly':\n        raise BadSpec('fly needs wings')\n    if hyperparameters.every < 1:",
            ),
            ("f\"unknown algorithm {spec['algo']!r}{nearest(spec['algo'], algorithms)}\"", "f\"{spec['algo']} is not known\""),
        ],
        {"unknown algorithm exits 2": "runner.toml names run, which run.py does not know"},
    ),
    "unfinished": ([('"steps": task.steps, "seconds"', '"seconds"')], {"steps": "says None steps"}),
    "without a last word": ([('write_json(words.out / "done.json", ', "print(")], {"trains": "done.json was not written"}),
    "broken": (
        [("    while not task.over:", "    raise ValueError('a shape')\n    while not task.over:")],
        {"trains": "ValueError: a shape"},
    ),
    "silent": ([("        task.episode(value, hyperparameters.every)\n", "")], {"trains": "no episode ended"}),
}


def test_every_line_is_broken_by_a_runner() -> None:
    assert {line for _, said in BREAKS.values() for line in said} == set(LINES)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_promise_fails_its_line_and_no_other(
    tmp_path: Path, launcher: LocalLauncher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != "secretive":
        ask_for_no_other_names(monkeypatch)
    changes, said = BREAKS[name]
    found = looked_at(write_own(tmp_path / "mine", changes=changes), launcher)
    assert {line for line, (ok, _) in found.items() if not ok} == set(said), found
    for line, words in said.items():
        assert words in found[line][1]


SMALL = {"learning_starts": 50, "batch_size": 16, "buffer_size": 1000, "policy_kwargs": {"net_arch": [8]}}
PROBES = {
    "sb3": [Probe("ppo", "CartPole-v1", 256, {"n_steps": 128})],
    "single_file": [
        Probe("ppo", "CartPole-v1", 256, {"n_steps": 128}),
        Probe("dqn", "CartPole-v1", 300, SMALL | {"target_update_interval": 40}),
        Probe("sac", "Pendulum-v1", 250, SMALL | {"train_freq": 16}),
    ],
    "stream_x": [
        Probe("stream_q", "CartPole-v1", 300, {"net_arch": [8]}, {"bound_step": False, "learning_rate": 1e10}),
        Probe("stream_ac", "Pendulum-v1", 250, {"net_arch": [8]}, {"bound_step": False, "learning_rate": 1e20}),
    ],
}


@pytest.mark.parametrize("name", PROBES)
def test_the_runners_that_ship_pass_every_line(
    name: str, built_sb3: Environment, launcher: LocalLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in examples():
        write_runner("mine", tmp_path / "mine", example=name)
        (tmp_path / "mine" / "lock" / "base.txt").write_text("# what sb3's environment has is enough\n")
        spec = read_runner(tmp_path / "mine")
        runner = pin(spec, replace(built_sb3, variant="any"))
    else:
        spec = find_runner(name)
        wanted = needed_here(pins_of(lock_files(spec, "cpu")), spec.python)
        there = needed_here(pins_of(lock_files(find_runner("sb3"), "cpu")), spec.python)
        # Where sb3's environment has all that the runner's has, that need not be built.
        runner = pin(spec, built_sb3 if wanted.items() <= there.items() else build(spec, "cpu"))
    for probe in PROBES[name]:
        found = list(look_at_contract(runner, spec, probe, launcher))
        assert [finding.what for finding in found] == [f"{probe.algo}: {line}" for line in LINES], found
        assert [finding for finding in found if not finding.ok] == []
        divergence = next(finding for finding in found if "divergence" in finding.what)
        assert "exit code 4" in divergence.detail
        ask_for_no_other_names(monkeypatch)  # again: the files are the same
