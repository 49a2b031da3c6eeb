"""Walking folders: order, links, dirt, bundles."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from openrlb.errors import MapError, SourceError, UsageError
from openrlb.sources import ReadOptions, files, read, write_bundle
from openrlb.sources.files import Listing
from openrlb.types import Metric, MetricBatch, Run, RunBatch, Skipped

ROWS = "algo,env,seed,step,return\nppo,Hopper-v4,1,0,1.5\n"


def load(path: Path, *maps: str) -> tuple[list[RunBatch], list[Skipped]]:
    records = list(read(path, ReadOptions(map=maps)))
    return [r for r in records if isinstance(r, RunBatch)], [r for r in records if isinstance(r, Skipped)]


def test_an_empty_folder_yields_nothing(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert load(tmp_path) == ([], [])


def test_a_missing_path_and_a_bad_map_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read(tmp_path / "nowhere", ReadOptions())
    with pytest.raises(MapError):
        read(tmp_path, ReadOptions(map=("algo",)))


def test_a_folder_of_pickles_says_why_it_is_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trap"),)

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "results.pkl").write_bytes(pickle.dumps(Trap()))
    for place in (tmp_path, tmp_path / "in" / "results.pkl"):
        runs, (skipped,) = load(place)
        assert runs == [] and "pickles are never opened" in skipped.reason
    assert not (tmp_path / "trap").exists()


def test_what_is_no_log_is_named_once_and_documents_are_not(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", "train.py", ".hidden", "plot.png", "core", "x.yaml", "y.yaml"):
        (tmp_path / name).write_text("text")
    (tmp_path / "events.out.tfevents.17.host").write_bytes(b"\x00")
    (tmp_path / "run-1.wandb").write_bytes(b"\x00")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.csv").write_text(ROWS)
    runs, skipped = load(tmp_path)
    reasons = {item.location: item.reason for item in skipped}
    assert runs == [] and set(reasons) == {".", "events.out.tfevents.17.host", "run-1.wandb"}
    odd, unread = (item.reason for item in skipped if item.location == ".")
    assert odd.endswith("core, x.yaml, y.yaml") and unread == "1 file of types openrlb does not read (hidden)"
    assert "TensorBoard" in reasons["events.out.tfevents.17.host"] and "Weights & Biases" in reasons["run-1.wandb"]


def test_links_do_not_lead_out_and_double_nothing(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "in").mkdir(parents=True)
    (outside / "secret.csv").write_text(ROWS)
    (root / "in" / "t.csv").write_text(ROWS)
    (root / "again").symlink_to(root / "in", target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "out.csv").symlink_to(outside / "secret.csv")
    (root / "dead.csv").symlink_to(root / "gone.csv")
    os.mkfifo(root / "pipe.csv")
    runs, skipped = load(root)
    assert [batch.run.location for batch in runs] == ["in/t.csv"]
    assert [item.location for item in skipped] == ["out", "out.csv"]
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    linked, _ = load(tmp_path / "link")
    assert linked[0].run.run == runs[0].run.run and linked[0].run.project == "link"


def test_the_order_is_fixed_and_every_file_is_announced(tmp_path: Path) -> None:
    for name in ("b/2.csv", "a b/ü.csv", "a/1.csv", "z.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ROWS)
    seen: list[Path] = []
    records = list(read(tmp_path, ReadOptions(), seen.append))
    places = [record.run.location for record in records if isinstance(record, RunBatch)]
    assert places == ["z.csv", "a/1.csv", "a b/ü.csv", "b/2.csv"] == [path.relative_to(tmp_path).as_posix() for path in seen]


def test_folders_that_cannot_be_listed_and_files_that_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed/t.csv", "open/gone.csv", "open/t.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ROWS)
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    real = files.listing

    def vanishing(folder: Path, root: Path) -> Listing:
        found = real(folder, root)
        (tmp_path / "open" / "gone.csv").unlink(missing_ok=folder.name == "open")
        return found

    monkeypatch.setattr(files.os, "scandir", guarded)
    monkeypatch.setattr("openrlb.sources.folder.listing", lambda f, r: vanishing(f, r) if f.name == "open" else real(f, r))
    runs, skipped = load(tmp_path)
    assert [batch.run.location for batch in runs] == ["open/t.csv"]
    assert {item.location: item.damaged for item in skipped} == {"closed": True, "open/gone.csv": True}
    reasons = " ".join(item.reason for item in skipped)
    assert "Permission denied" in reasons and "vanished" in reasons


def test_names_that_look_like_paths_stay_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('algo,env,return\n../../etc,"../..\\Ünï, code",1\n')
    ((batch,), _) = load(tmp_path)
    assert (batch.run.algo, batch.run.env) == ("../../etc", "../..\\Ünï, code")


# --- bundles -------------------------------------------------------------------------------------------------------------


def run(name: str, rows: int = 3) -> RunBatch:
    steps = np.arange(rows, dtype=np.int64)
    metric = MetricBatch(Metric("r", "episode", "episodic_return"), steps, np.array([1.0, np.nan, 3.0][:rows]), steps * 10)
    return RunBatch(Run("openrlb", name, "p", name, "ppo", "Hopper-v5", seed=1, state="finished"), (metric,), {"a.txt": b"text"})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", [run(f"run{number}") for number in range(450)])
    return tmp_path / "bundle"


def test_a_bundle_comes_back_as_it_was_recorded(bundle: Path) -> None:
    for place in (bundle, bundle.parent):
        runs, skipped = load(place)
        assert skipped == [] and [batch.run for batch in runs] == [run(f"run{number}").run for number in range(450)]
    np.testing.assert_array_equal(runs[7].metrics[0].values, [1, np.nan, 3])
    assert runs[7].blobs == {"a.txt": b"text"} and runs[7].metrics[0].times_ms.tolist() == [0, 10, 20]  # type: ignore[union-attr]
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert [entry["path"] for entry in manifest["segments"]] == ["runs-0000.parquet", "runs-0001.parquet", "runs-0002.parquet"]
    with pytest.raises(UsageError, match="not empty"):
        write_bundle(bundle, [run("other")])


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret.parquet", "a/../../b", "..", "C:\\x", "\\\\host\\x", "", None, "a\0b", "link.parquet"]
)
def test_a_manifest_that_leads_out_is_refused(bundle: Path, path: str | None) -> None:
    (bundle.parent / "secret.parquet").write_bytes((bundle / "runs-0000.parquet").read_bytes())
    (bundle / "link.parquet").symlink_to(bundle.parent / "secret.parquet")
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["segments"][1]["path"] = path
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="leads out of the bundle"):
        load(bundle)
    runs, skipped = load(bundle.parent)  # inside another folder it does not keep the rest from being read
    assert runs == [] and Skipped("bundle", f"the path {path!r} leads out of the bundle", damaged=True) in skipped


def test_a_changed_bundle_is_refused_whole(bundle: Path) -> None:
    segment = bundle / "runs-0001.parquet"
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    with pytest.raises(SourceError, match="sha256 differs"):
        load(bundle)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["segments"] = manifest["segments"][:1]
    manifest["segments"][0]["rows"] += 1
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="the manifest says"):
        load(bundle)
    manifest["schema"] = 2
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="schema is 2"):
        load(bundle)
