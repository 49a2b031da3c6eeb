"""Fixtures of the log-folder tests."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest


@pytest.fixture
def zoo_benchmark(shared_data: Path, tmp_path: Path) -> Path:
    """rl_zoo3's published evaluation logs, unpacked."""
    with tarfile.open(shared_data / "zoo_benchmark" / "logs_benchmark.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "logs"
