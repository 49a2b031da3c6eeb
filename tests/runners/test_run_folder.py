"""The folder of a run: claimed by one, read in one way, and judged by what it holds."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runner import fake_runner, item, request
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import SourceError, StoreUnwritable
from openrlb.sources.trained import read_rows
from openrlb.store import Store, read_segment
from openrlb.tracking.folder import runs_dir
from openrlb.types import RunBatch, Selection
from openrlb_runners import run_folder
from openrlb_runners.progress import Tail
from openrlb_runners.request import WorkItem
from openrlb_runners.run_folder import Ended, claim, differences, mark_ended, next_attempt, read_folder, store_folders
from openrlb_runners.sweeping import sweep_trained


@pytest.fixture
def work_item(tmp_path: Path) -> WorkItem:
    return item(fake_runner(tmp_path / "fake"), request(seed=4, steps=20))


@pytest.fixture
def folder(work_item: WorkItem) -> Path:
    claimed = claim(Store().layout, work_item, 1)
    assert claimed is not None
    return claimed


def fill(folder: Path, work_item: WorkItem, **changes: Any) -> None:
    """What a runner would have written."""
    (folder / "config.json").write_text(json.dumps({**work_item.effective, "wrappers": ["A"], "step_unit": "frame", **changes}))
    (folder / "env.json").write_text(json.dumps({"python": "3.11", "hostname": "ann-laptop", "packages": ["torch==2"]}))
    rows = [{"t": "episode", "step": 10, "return": 1.5, "length": 10, "time": 0.5}, {"t": "eval", "step": 20, "return": 2}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "done.json").write_text('{"steps": 20, "seconds": 1, "episodes": 1}')


def spooled() -> list[RunBatch]:
    return [batch for segment in sorted(Store().layout.spool.glob("*.parquet")) for batch in read_segment(segment)]


def forsake(folder: Path) -> None:
    """Makes the folder's owner a process that is gone."""
    record = json.loads((folder / "request.json").read_text())
    record["owner"]["began"] += "0"
    (folder / "request.json").write_text(json.dumps(record))


def test_an_attempt_is_claimed_by_one(work_item: WorkItem, folder: Path) -> None:
    layout = Store().layout
    assert claim(layout, work_item, 1) is None
    assert next_attempt(layout, work_item.key.digest, 0) == 2
    assert next_attempt(layout, work_item.key.digest, 5) == 6
    assert sorted(path.name for path in runs_dir(layout).iterdir()) == [work_item.key.digest]


def test_a_finished_folder_becomes_a_run_with_everything(work_item: WorkItem, folder: Path) -> None:
    fill(folder, work_item)
    mark_ended(folder, Ended("finished", (), 0, 1.0))
    store_folders(Store().layout, [folder])
    (batch,) = spooled()
    run = batch.run
    assert (run.run, run.attempt, run.state, run.impl, run.seed) == (work_item.key.digest, 1, "finished", "fake", 4)
    assert (run.step_unit, run.wrappers, run.notes) == ("frame", ("A",), ())
    assert run.config == {
        "rate": 0.5,
        "act": "none",
        "at": 0,
        "pause": 0.0,
        "every": 10,
        "net": {"arch": [8], "act": "tanh"},
        "steps": 20,
    }
    names = {"run.py", "runner.toml", "lock/base.txt", "requirements.txt", "spec.json", "config.json", "env.json"}
    assert set(batch.blobs) == set(run.files) == names
    assert batch.blobs["run.py"] == work_item.runner.sources["run.py"]
    assert run.hardware == {"python": "3.11", "threads": 1, "device": "cpu"} and run.created is not None
    assert [(m.metric.name, m.metric.kind, m.values.tolist()) for m in batch.metrics] == [
        ("episodic_return", "episode", [1.5]),
        ("episodic_length", "episode", [10.0]),
        ("eval/episodic_return", "eval", [2.0]),
    ]
    assert not folder.parent.exists()


def test_the_steps_of_a_run_are_those_that_were_trained_not_those_of_its_last_row(work_item: WorkItem, folder: Path) -> None:
    fill(folder, work_item)
    (folder / "done.json").write_text('{"steps": 24, "seconds": 1, "episodes": 1}')
    mark_ended(folder, Ended("finished", (), 0, 1.0))
    cut = claim(Store().layout, replace(work_item, request=replace(work_item.request, seed=5)), 1)
    assert cut is not None
    fill(cut, work_item, seed=5)
    (cut / "done.json").unlink()
    mark_ended(cut, Ended("crashed", (), None, 1.0))
    store_folders(Store().layout, [folder, cut])
    rows = sorted(Store().runs(Selection()), key=lambda row: row.record.seed or 0)
    assert [(row.record.seed, row.columns["steps"]) for row in rows] == [(4, 24), (5, 20)]
    assert [row.record.steps for row in rows] == [24, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "seed is 5, not 4"),
        ({"steps": 30}, "steps is 30, not 20"),
        ({"threads": 2}, "threads is 2, not 1"),
        ({"env_kwargs": {"a": 1}}, "env_kwargs.a is 1, not null"),
        ({"evaluation": {"every": 5}}, 'evaluation is {"every": 5}, not null'),
        ({"hyperparameters": {}}, "hyperparameters.rate is null, not 0.5"),
    ],
)
def test_what_was_not_asked_for_makes_the_run_invalid(
    work_item: WorkItem, folder: Path, change: dict[str, Any], words: str
) -> None:
    fill(folder, work_item, **change)
    mark_ended(folder, Ended("finished", (), 0, 1.0))
    run = read_folder(folder).run
    assert run.state == "invalid" and words in run.notes[0]


def test_a_folder_whose_openrlb_is_gone_is_swept_as_crashed(work_item: WorkItem, folder: Path) -> None:
    fill(folder, work_item)
    (folder / "done.json").unlink()
    assert sweep_trained().running == 1
    forsake(folder)
    assert sweep_trained().stored == [work_item.key.digest]
    (batch,) = spooled()
    assert batch.run.state == "crashed" and "openrlb was gone" in batch.run.notes[0]
    assert batch.metrics[0].values.tolist() == [1.5]


def test_a_run_that_said_its_last_word_is_finished_whoever_saw_it(work_item: WorkItem, folder: Path) -> None:
    fill(folder, work_item)
    forsake(folder)
    sweep_trained()
    assert [batch.run.state for batch in spooled()] == ["finished"]


def test_a_folder_without_any_output_is_a_crashed_run(work_item: WorkItem, folder: Path) -> None:
    forsake(folder)
    sweep_trained()
    (batch,) = spooled()
    assert (batch.run.state, batch.run.seed, batch.metrics) == ("crashed", 4, ())
    Store().fold()
    assert len(Store().runs()) == 1


@pytest.mark.parametrize("name", ["config.json", "env.json", "done.json", "metrics.jsonl"])
@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"{", b"[1]", b'{"steps": "x"}', b"[" * 100_000])
def test_garbage_in_a_runner_s_file_never_stops_a_sweep(work_item: WorkItem, folder: Path, name: str, data: bytes) -> None:
    fill(folder, work_item)
    (folder / name).write_bytes(data)
    forsake(folder)
    assert sweep_trained().damaged == []
    (batch,) = spooled()
    states = {"config.json": "invalid", "env.json": "finished", "metrics.jsonl": "finished", "done.json": "crashed"}
    expected = "invalid" if (name, data) == ("done.json", b'{"steps": "x"}') else states[name]
    assert batch.run.state == expected
    if data not in (b"", b'{"steps": "x"}'):
        assert any(name in note for note in batch.run.notes)


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "key": {}}'])
def test_a_record_that_is_none_is_set_aside_and_kept(work_item: WorkItem, folder: Path, data: str) -> None:
    (folder / "request.json").write_text(data)
    report = sweep_trained()
    assert len(report.damaged) == 1 and report.stored == []
    assert [path.name for path in Store().layout.quarantine.iterdir()] == [f"run-{work_item.key.digest}-1"]


def test_one_bad_folder_does_not_keep_others_from_being_stored(work_item: WorkItem, folder: Path) -> None:
    second = claim(Store().layout, work_item, 2)
    assert second is not None
    for one in (folder, second):
        forsake(one)
    (folder / "spec.json").unlink()
    report = sweep_trained()
    assert report.stored == [work_item.key.digest] and len(report.damaged) == 1


def test_what_a_runner_leaves_beside_stays_and_is_named(work_item: WorkItem, folder: Path) -> None:
    fill(folder, work_item)
    (folder / "model.zip").write_text("weights")
    (folder / "videos").mkdir()
    (folder / "videos" / "a.mp4").write_text("film")
    mark_ended(folder, Ended("finished", (), 0, 1.0))
    before = read_folder(folder).run.notes
    store_folders(Store().layout, [folder])
    assert [path.name for path in folder.parent.iterdir()] == ["1.kept"]
    assert (folder.parent / "1.kept" / "videos" / "a.mp4").read_text() == "film"
    assert "model.zip, videos" in before[0] and spooled()[0].run.notes == before
    assert next_attempt(Store().layout, work_item.key.digest, 0) == 2
    assert sweep_trained().stored == []


def test_the_end_fits_the_space_that_was_set_aside(folder: Path) -> None:
    size = (folder / "ended.json").stat().st_size
    mark_ended(folder, Ended("crashed", ("ü" * 10_000,) * 20, None, 3.5))
    assert (folder / "ended.json").stat().st_size == size
    ended = run_folder.read_ended(folder)
    assert ended is not None and ended.state == "crashed" and ended.seconds == 3.5


def test_what_is_kept_of_standard_error_names_nobody(folder: Path) -> None:
    (folder / "stderr").write_bytes(
        b"x" * 5000 + b"\nfile " + str(Path.home() / "a.py").encode() + b" by ann@example.org\n\xff\x00\n"
    )
    tail = run_folder.stderr_tail(folder)
    assert str(Path.home()) not in tail and "ann@" not in tail and tail.startswith("file ~/a.py by [e-mail]")
    (folder / "stderr").write_bytes(b"y" * 10_000)
    assert len(run_folder.stderr_tail(folder)) == 4096


def test_a_store_that_cannot_be_written_is_said(work_item: WorkItem, isolation: Path) -> None:
    (isolation / "store").write_text("a file")
    with pytest.raises(StoreUnwritable):
        claim(Store().layout, work_item, 1)


def test_a_store_that_is_full_keeps_the_folder(work_item: WorkItem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, work_item)
    mark_ended(folder, Ended("finished", (), 0, 1.0))

    def full(*words: object) -> None:
        raise StoreUnwritable("the spool cannot be written", "No space left on device", "free some space")

    with monkeypatch.context() as patch:
        patch.setattr("openrlb.tracking.folder.write_segment", full)
        with pytest.raises(StoreUnwritable):
            store_folders(Store().layout, [folder])
    assert folder.exists() and sweep_trained().running == 1  # the openrlb that trained it has a minute to do it itself
    os.utime(folder / "ended.json", (1, 1))
    assert sweep_trained().stored == [work_item.key.digest]


def test_a_nan_is_no_difference_to_itself() -> None:
    config = {"algo": "a", "seed": 1, "hyperparameters": {"x": float("nan")}}
    assert differences(config, 1, config) == []


def test_a_record_of_a_folder_that_is_gone_raises_as_gone(folder: Path) -> None:
    (folder / "request.json").unlink()
    with pytest.raises(FileNotFoundError):
        read_folder(folder)


def test_a_missing_source_is_a_damaged_folder(folder: Path) -> None:
    (folder / "runner.toml").unlink()
    with pytest.raises(SourceError):
        read_folder(folder)


ROWS = st.one_of(
    st.fixed_dictionaries(
        {"t": st.just("episode"), "step": st.integers(0, 99), "return": st.floats(), "length": st.integers(1, 9)}
    ),
    st.fixed_dictionaries(
        {"t": st.just("scalar"), "step": st.integers(), "k": st.text(max_size=3), "v": st.floats() | st.none()}
    ),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.lists(ROWS), st.lists(st.integers(1, 60)), st.booleans())
def test_a_growing_file_gives_the_rows_that_the_whole_file_holds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cuts: list[int], torn: bool
) -> None:
    path = tmp_path_factory.mktemp("tail") / "metrics.jsonl"
    data = "".join(json.dumps(row) + "\n" for row in rows).encode() + (b'{"t": "epis' if torn else b"")
    tail, seen = Tail(path, 100), []
    with path.open("wb", buffering=0) as file:
        for size in cuts:
            file.write(data[:size])
            data = data[size:]
            seen += tail.look()
        file.write(data)
    seen += tail.look() + tail.look()
    batches, notes = read_rows(path)
    assert sum(len(batch.values) for batch in batches) == sum({"episode": 2, "eval": 2}.get(row["t"], 1) for row in seen)
    told = [note for note in notes if "torn" in note]
    assert len(rows) + torn - len(seen) == (int(told[0].split()[0]) if told else 0)
    tail.close()
