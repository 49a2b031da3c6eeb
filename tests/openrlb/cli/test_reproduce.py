"""``openrlb reproduce``: verdicts, tampering by name, prefixes, groups of seeds; on a runner of a few lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import pytest
from fake_runner import SCRIPT, item, request, write_runner
from typer.testing import Result

from openrlb import paths
from openrlb.api.reproduced_group import Group, judged
from openrlb.errors import CannotReproduce, UsageError
from openrlb.store import Store
from openrlb.types import RunBatch
from openrlb_runners.locks import lock_digest, lock_files
from openrlb_runners.reproduction import read_record
from openrlb_runners.request import Outcome, WorkItem, pin
from openrlb_runners.worker import work

Cli = Callable[..., Result]


class Place:
    """The fake runner's environment: the Python that the lock would be built with, so that the key is the rebuilt one's."""

    name, variant, size_bytes = "fake", "any", 0

    def __init__(self, lock: str) -> None:
        import sys

        self.lock, self.python = lock, Path(sys.executable)


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests here: the fake runner's is built once."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(autouse=True)
def shared_environments(environments: Path, isolation: Path) -> None:
    """Lets this test's openrlb find them."""
    (isolation / "cache").mkdir()
    (isolation / "cache" / "environments").symlink_to(environments, target_is_directory=True)


class Queue:
    """A work source."""

    def __init__(self, items: list[WorkItem]) -> None:
        self.items, self.outcomes = items, list[Outcome]()

    def take(self) -> WorkItem | None:
        return self.items.pop(0) if self.items else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def trained(
    store: Store,
    seeds: tuple[int, ...] = (1,),
    steps: int = 50,
    script: str = SCRIPT,
    state: str = "finished",
    **hyperparameters: Any,
) -> list[RunBatch]:
    """Runs of the fake runner, which is installed as a user's own."""
    folder = paths.home() / "runners" / "fake"
    spec = write_runner(folder, script=script)
    runner = pin(spec, Place(lock_digest(lock_files(spec, "any"), spec.python)))  # type: ignore[arg-type]
    queue = Queue([item(runner, request(seed, steps, **hyperparameters)) for seed in seeds])
    work(queue, workers=2, store=store)
    assert {one.state for one in queue.outcomes} == {state}
    return [one.batch for one in sorted(queue.outcomes, key=lambda one: one.run.seed or 0) if one.batch is not None]


def asked(cli: Cli, *words: object, code: int = 0) -> dict[str, Any]:
    """The JSON of a reproduction."""
    result = cli("reproduce", *words, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def altered(store: Store, batch: RunBatch, files: Mapping[str, bytes], **fields: Any) -> str:
    """Stores a run again with other kept files under its old id: a record that was tampered with as a whole."""
    blobs = {**batch.blobs, **files}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    store.write([replace(batch, run=replace(batch.run, files=digests, attempt=7, **fields), blobs=blobs)])
    return batch.run.run


def edited(store: Store, batch: RunBatch, name: str, data: bytes) -> str:
    """Edits a kept file where it lies."""
    store.fold()
    path = store.layout.blobs / batch.run.files[name]
    path.chmod(0o644)
    path.write_bytes(data)
    return batch.run.run


def test_the_same_again_is_bit_exact_and_kept_apart(cli: Cli, store: Store) -> None:
    (batch,) = trained(store)
    found = asked(cli, batch.run.run[:6])
    assert list(found)[:4] == ["run", "verdict", "first_difference", "environment"]
    assert found["run"] == batch.run.run
    assert found["verdict"] == "bit-exact"
    assert found["first_difference"] is None
    assert found["environment"] == {"matches": True, "differences": {}}
    assert found["rows"] == {"episodic_return": 5, "episodic_length": 5}
    rows = {row.record.run: row.record for row in store.runs()}
    (new,) = found["reproduced"]
    assert rows[new].role == "reproduction"
    assert rows[new].tags == (f"reproduces:{batch.run.run}",)
    assert rows[new].config == batch.run.config
    excluded = json.loads(cli("plot", "--table", "--json").stdout)
    assert [row["seeds"] for row in excluded] == [1]
    again = cli("reproduce", new)
    assert again.exit_code == 2
    assert batch.run.run in again.stderr


def test_how_long_it_will_take_is_said_from_the_stored_runs_own_times(cli: Cli, store: Store) -> None:
    (batch,) = trained(store, pause=0.2)
    said = [line for line in cli("reproduce", batch.run.run).stderr.splitlines() if line.startswith("expected time: ")]
    assert len(said) == 1 and "the stored run took" in said[0] and said[0].endswith(("processor", "on test")), said
    part = cli("reproduce", batch.run.run, "--steps", 20).stderr
    assert "to step 20" in part
    bare = tuple(replace(one, times_ms=None) for one in batch.metrics)
    store.write([replace(batch, run=replace(batch.run, attempt=7), metrics=bare)])
    assert f"not known: run {batch.run.run} logged no times" in cli("reproduce", batch.run.run).stderr


def test_nothing_of_the_installed_runner_is_run(cli: Cli, store: Store) -> None:
    (batch,) = trained(store)
    entry = paths.home() / "runners" / "fake" / "run.py"
    entry.write_text("raise SystemExit('the edited one')\n")
    found = asked(cli, batch.run.run)
    assert found["verdict"] == "bit-exact"
    assert [one["name"] for one in found["runner_today"]] == ["the sha256 of run.py"]


def test_a_training_that_is_not_deterministic_is_told_apart(cli: Cli, store: Store) -> None:
    (batch,) = trained(store, script=SCRIPT.replace('random.Random(spec["seed"])', "random.SystemRandom()"))
    found = asked(cli, batch.run.run, code=1)
    assert found["verdict"] == "not-bit-exact"
    first = found["first_difference"]
    assert (first["metric"], first["row"], first["step"]) == ("episodic_return", 0, 10)
    stored = next(one for one in batch.metrics if one.metric.name == "episodic_return")
    assert first["stored"] == stored.values[0] != first["now"]
    assert "not deterministic" in found["words"]


def test_what_differs_in_the_environment_is_named(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SCRIPT.replace('"cpu": "test"', '"cpu": os.environ["LANG"]')
    monkeypatch.setenv("LANG", "C")
    (batch,) = trained(store, script=seen.replace('values["rate"]\n', 'values["rate"] + len(os.environ["LANG"])\n'))
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = asked(cli, batch.run.run, code=1)
    assert found["environment"] == {"matches": False, "differences": {"cpu": ["C", "C.UTF-8"]}}
    assert "cpu" in found["words"]
    assert "--seeds 5" in found["words"]
    monkeypatch.setenv("LANG", "C")
    paths.home().joinpath("runners/fake").rename(paths.home() / "old")
    (batch,) = trained(store, seeds=(2,), script=seen)
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = asked(cli, batch.run.run)
    assert found["verdict"] == "bit-exact"
    assert not found["environment"]["matches"]


def test_a_prefix_is_trained_as_the_whole_was_and_ended_early(cli: Cli, store: Store) -> None:
    scheduled = SCRIPT.replace("rng.random() *", '(1 - step / spec["steps"]) * rng.random() *')  # a schedule over all steps
    (batch,) = trained(store, steps=600, script=scheduled, pause=0.05)
    found = asked(cli, batch.run.run, "--steps", "95")
    assert found["verdict"] == "bit-exact"
    assert found["rows"]["episodic_return"] == 9
    row = next(row for row in store.runs() if row.record.role == "reproduction")
    assert row.record.state == "killed"
    assert any("as asked" in note for note in row.record.notes)
    assert row.columns["steps"] < 600
    for words, said in ((("--steps", "5"), "--steps 10"), (("--steps", "601"), "600")):
        refused = cli("reproduce", batch.run.run, *words)
        assert refused.exit_code == 2
        assert said in refused.stderr


def test_a_run_that_crashed_is_compared_as_far_as_it_came(cli: Cli, store: Store) -> None:
    (batch,) = trained(store, state="crashed", act="crash", at=30)
    found = asked(cli, batch.run.run)
    assert found["verdict"] == "bit-exact"
    assert found["rows"]["episodic_return"] == 3
    assert "crashed" in found["notes"][0]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("run.py", b"print(1)\n", ("run.py",)),
        ("lock/base.txt", b"# something\n", ("lock/base.txt",)),
        ("spec.json", b"{", ("spec.json",)),
    ],
)
def test_a_kept_file_that_was_edited_is_named(cli: Cli, store: Store, name: str, data: bytes, said: tuple[str, ...]) -> None:
    (batch,) = trained(store)
    result = cli("reproduce", edited(store, batch, name, data), "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["verdict"] == "impossible"
    assert len(result.stderr.strip().splitlines()) == 3
    assert all(word in result.stderr for word in (*said, "sha256"))


def test_a_record_whose_parts_were_replaced_names_the_part(cli: Cli, store: Store) -> None:
    (batch,) = trained(store)
    config = json.loads(batch.blobs["config.json"])
    config["hyperparameters"]["rate"] = 0.75
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"config.json": json.dumps(config).encode()}, "hyperparameters.rate is 0.75, not 0.5"),
        ({"run.py": batch.blobs["run.py"] + b"# more\n"}, "the sha256 of run.py is"),
        ({"lock/base.txt": b"# another lock\n"}, "the sha256 of lock/base.txt is"),
        ({"spec.json": batch.blobs["spec.json"].replace(b'"seed": 1', b'"seed": 2')}, "seed is 2, not 1"),
    ]
    for files, said in cases:
        result = cli("reproduce", altered(store, batch, files))
        assert result.exit_code == 4, result.output
        assert said in result.stderr, result.stderr
        assert sum("sha256" in line for line in result.stderr.splitlines()) <= 1
    both = {"run.py": b"print(2)\n", "lock/base.txt": b"# another lock\n"}
    (paths.home() / "runners/fake/run.py").write_text("print(3)\n")  # nothing here has the file that ran any more
    result = cli("reproduce", altered(store, batch, both))
    assert result.exit_code == 4
    assert f"not {json.dumps(batch.run.run)}" in result.stderr


def test_a_request_that_asks_for_something_else_is_named_before_it_is_trained(cli: Cli, store: Store) -> None:
    (batch,) = trained(store, rate=0.5)
    changed = batch.blobs["spec.json"].replace(b'"rate": 0.5', b'"rate": 0.9')
    assert changed != batch.blobs["spec.json"]
    result = cli("reproduce", altered(store, batch, {"spec.json": changed}))
    assert result.exit_code == 4
    assert "hyperparameters.rate is 0.9, not 0.5" in result.stderr
    assert not [row for row in store.runs() if row.record.role == "reproduction"]


def test_a_setting_edited_in_the_catalog_alone_is_named_but_does_no_harm(cli: Cli, store: Store) -> None:
    (batch,) = trained(store)
    run = altered(store, batch, {}, config={**batch.run.config, "rate": 0.1})
    found = asked(cli, run)
    assert found["verdict"] == "bit-exact"
    assert found["changed"] == [{"name": "hyperparameters.rate", "stored": 0.1, "now": 0.5}]


def test_runs_of_other_people_say_what_they_lack(cli: Cli, runs: Store) -> None:
    result = cli("reproduce", "run0", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["reason"]["why"].count("lock") >= 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 3
    assert all(word in lines[1] for word in ("folder", "lock files", "run.py", "spec.json"))


def test_a_lock_that_no_longer_installs(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = paths.home() / "runners" / "fake"
    spec = write_runner(folder)
    (folder / "lock" / "base.txt").write_text(f"gone==1.0 --hash=sha256:{'0' * 64}\n")
    runner = pin(spec, Place(lock_digest(lock_files(spec, "any"), spec.python)))  # type: ignore[arg-type]
    queue = Queue([item(runner, request())])
    work(queue, workers=1, store=store)
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    result = cli("reproduce", queue.outcomes[0].run.run, "--json")
    assert result.exit_code == 4, result.output
    assert "gone" in json.loads(result.stdout)["reason"]["why"]


def test_a_run_that_ends_otherwise_is_no_verdict(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C")
    (batch,) = trained(
        store, script=SCRIPT.replace("rng, total", 'sys.exit(7) if "UTF" in os.environ["LANG"] else None\nrng, total')
    )
    monkeypatch.setenv("LANG", "C.UTF-8")
    result = cli("reproduce", batch.run.run)
    assert result.exit_code == 4
    assert "exit code 7" in result.stderr


@pytest.mark.parametrize("words", [("--seeds", "4"), ("--margin", "1"), ("--seeds", "5", "--steps", "10"), ("--steps", "0")])
def test_words_without_a_meaning(cli: Cli, runs: Store, words: tuple[str, ...]) -> None:
    assert cli("reproduce", "run0", *words).exit_code == 2


def test_fresh_seeds_against_the_stored_group(cli: Cli, store: Store) -> None:
    batches = trained(store, seeds=(1, 3), steps=400)
    found = asked(cli, batches[0].run.run, "--seeds", "5", "--margin", "20", "--workers", "2")
    assert found["verdict"] == "equivalent"
    numbers = found["equivalence"]
    assert (numbers["stored"]["n"], numbers["now"]["n"], numbers["margin"], numbers["level"]) == (2, 5, 20.0, 0.95)
    assert found["notes"] == ["fresh seeds: 2, 4, 5, 6, 7; stored seeds: 1, 3"]
    assert found["score"] == "final:10% of episodic_return up to step 400"
    assert len(found["reproduced"]) == 5
    returns = [one for batch in batches for one in batch.metrics if one.metric.name == "episodic_return"]
    assert numbers["stored"]["mean"] == pytest.approx(sum(one.values[-4:].mean() for one in returns) / 2)


def group(*scores: float) -> Group:
    return Group(dict(enumerate(scores, 1)), frozenset(range(1, 1 + len(scores))), ("eval/mean_reward", "eval"), 50_000, ())


@pytest.mark.parametrize(
    ("offsets", "margin", "verdict", "words"),
    [
        ((0.1, -0.1, 0.0, 0.05, -0.05), 1.0, "equivalent", "within the margin"),
        ((3.1, 2.9, 3.0, 3.05, 2.95), 1.0, "different", "excludes 0"),
        ((4.0, -4.0, 0.0, 2.0, -2.0), 1.0, "not-bit-exact", "undecided at 5 seeds"),
    ],
)
def test_groups_are_judged_by_the_interval_and_the_margin(
    offsets: tuple[float, ...], margin: float, verdict: str, words: str
) -> None:
    fresh = [builders.batch(f"new{seed}", seed=seed, offset=offset) for seed, offset in enumerate(offsets, 10)]
    found = judged(group(47.0, 47.2, 46.8, 47.1, 46.9), fresh, margin)  # the last tenth of builders' 50 points is 47 on average
    assert found.verdict == verdict
    assert words in found.words


def test_a_diverged_seed_leaves_no_mean_and_no_verdict() -> None:
    fresh = [builders.batch(f"new{seed}", seed=seed, state="diverged" if seed == 12 else "finished") for seed in range(10, 15)]
    found = judged(group(47.0, 47.1), fresh, 1.0)
    assert found.verdict == "not-bit-exact"
    assert "1 of 5 new ones diverged" in found.words
    assert found.equivalence is None


def test_the_default_margin_is_a_tenth_of_the_stored_mean() -> None:
    assert group(-40.0, -60.0).margin(None) == pytest.approx(5.0)
    assert group(1.0, 2.0).margin(0.25) == 0.25
    for scores in ((1.0, -1.0), (1.0, float("nan"))):
        with pytest.raises(UsageError, match="default margin"):
            group(*scores).margin(None)


def test_a_group_leaves_out_what_was_made_otherwise(store: Store) -> None:
    batches = trained(store, seeds=(1, 2, 3))
    altered(store, batches[2], {"run.py": b"# another\n"})
    rows = {row.record.seed: row for row in store.runs()}
    found = Group.stored(rows[1], read_record(rows[1].record, store.layout), store)
    assert sorted(found.scores) == [1, 2]
    assert found.taken == {1, 2, 3}
    assert [note.split(": ")[1] for note in found.notes] == ["it was trained with another run.py"]
    assert found.fresh_seeds(2) == [4, 5]
    with pytest.raises(CannotReproduce, match="no group"):
        Group.stored(rows[3], read_record(rows[3].record, store.layout), store)
