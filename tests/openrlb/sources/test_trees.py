"""Walking folders: order, links, dirt."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from openrlb.errors import MapError, SourceError
from openrlb.sources import ReadOptions, files, read
from openrlb.sources.files import Listing
from openrlb.types import RunBatch, Skipped

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
