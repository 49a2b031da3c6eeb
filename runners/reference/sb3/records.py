"""What the process runs on, for env.json: enough to say whether two runs can be bit-equal, and never a host or user name."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

VARIABLES = (
    "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES"
    " MKL_CBWR MKL_DEBUG_CPU_TYPE ATEN_CPU_CAPABILITY MUJOCO_GL NPROC XLA_FLAGS JAX_ENABLE_X64".split()
)


def write_json(path: Path, value: object) -> None:
    """Puts a JSON file in place by rename, so that it is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def environment_record(device: torch.device) -> dict[str, Any]:
    """What env.json says."""
    cpu, flags = processor()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": cpu,
        "cpu_flags": digest(" ".join(sorted(flags))) if flags else None,
        "gpu": graphics(device) if device.type == "cuda" else None,
        "torch": {"version": torch.__version__, "config": digest(torch.__config__.show())},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": sorted({f"{item.name}=={item.version}" for item in distributions()}, key=str.lower),
    }


def digest(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def processor() -> tuple[str | None, list[str]]:
    """The processor's model and its feature flags; flags are known on Linux only."""
    name, flags = platform.processor() or None, []
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            name = value
        elif key in ("flags", "Features"):
            flags = value.split()
        elif not line and flags:  # one processor speaks for all
            break
    return name, flags


def graphics(device: torch.device) -> dict[str, Any]:
    """The GPU that is trained on, and the versions between it and torch."""
    about = torch.cuda.get_device_properties(device)
    try:
        driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        driver = None
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "memory_mb": about.total_memory // 2**20,
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
