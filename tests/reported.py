"""A store whose runs try everything that a page must withstand, and what is packed into a page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from builders import batch

from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, RunBatch

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">\u2028&<b>"
ALICE, CAROL = "/home/alice", "carol@example.org"
FORMULA = '=HYPERLINK("http://127.0.0.1:9")'
SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "MY_SECRET": "planted-variable-value",
}
"""Variables that are set while a page is made."""
PLANTED = (
    *SECRETS.values(),
    *("ghp_" + "Zz19" * 9, "hf_" + "Qq28" * 8, "alice-login", CAROL, ALICE, "planted-password"),
    *(
        "planted-hub-token",
        "planted-argument",
        "planted/aws/key",
        base64.b64encode(f"user:{SECRETS['WANDB_API_KEY']}".encode()).decode()[8:-8],
    ),
)
"""What must be nowhere in a page."""
COMMAND = {"command": ["python", "/home/alice/train.py", "--wandb-api-key", SECRETS["WANDB_API_KEY"], "--lr=0.1"]}


SETTINGS = {
    "note": HOSTILE,
    "logs": f"{ALICE}/logs",
    "wandb_api_key": SECRETS["WANDB_API_KEY"],
    "git": {"remote": f"https://alice-login:{PLANTED[2]}@github.com/lab/code", "asked": CAROL},
    "said": f"password=planted-password and {PLANTED[3]}",
    FORMULA: FORMULA,
    "token_of": SECRETS["MY_SECRET"],
    "hub": {"token": "planted-hub-token"},
    "argv": ["train.py", "--password", "planted-argument", "--lr", "0.1"],
    "aws": {"AWS_SECRET_ACCESS_KEY": "planted/aws/key"},
    "encoded": base64.b64encode(f"user:{SECRETS['WANDB_API_KEY']}".encode()).decode(),
}


def fill(store: Store) -> None:
    """Two algorithms in two environments, three seeds each, with secrets, markup and formulas wherever a log may hold text."""
    runs = []
    for algo, offset in (("ppo", 0.0), (HOSTILE, 40.0)):
        for env in ("Hopper-v4", "Ant-v4"):
            for seed in range(3):
                about: dict[str, Any] = {
                    "config": {"lr": 0.1, "gamma": 0.99, "seed": seed, **SETTINGS},
                    "tags": (CAROL, HOSTILE),
                    "location": f"{ALICE}/logs/x",
                    "notes": (f"read from {ALICE}: {HOSTILE}",),
                    "hardware": {"cpu": "a processor", "where": ALICE, "hostname": "a-processor-of-alices"},
                    "created": f"2026-01-0{seed + 1}T00:00:00+00:00",
                    "state": "finished",
                }
                name = f"{algo[:3]}-{env}-{seed}"
                runs.append(batch(name, env=env, algo=algo, seed=seed, points=600, every=100, offset=offset + 3 * seed, **about))
    plain = {"lr": 0.1, "gamma": 0.99}
    runs.append(batch("crashed", algo="ppo", seed=9, points=3, every=100, state="crashed", config=plain))
    runs.append(batch("tuned", algo="ppo", seed=7, points=600, every=100, role="tuning", config=plain))
    kept = {"command.json": json.dumps(COMMAND).encode()}
    steps = np.arange(1, 50, dtype=np.int64) * 1000
    power = MetricBatch(Metric("system.gpu.0.powerWatts", "system"), steps, np.full(49, 250.0))
    files = {name: sha256(data).hexdigest() for name, data in kept.items()}
    runs[0] = RunBatch(replace(runs[0].run, files=files), (*runs[0].metrics, power), kept)
    store.write(runs)
    store.fold()


def packed(text: str, name: str) -> Any:
    """What is compressed in a page under a name."""
    found = re.search(rf'<script type="application/json" id="{re.escape(name)}">"([^"]*)"</script>', text)
    assert found is not None, name
    return json.loads(gzip.decompress(base64.b64decode(found.group(1))))


def everything(path: Path) -> str:
    """A page's text with everything that is compressed in it beside it."""
    text = path.read_text(encoding="utf-8")
    parts = re.findall(r'<script type="application/json" id="[^"]*">"([^"]*)"</script>', text)
    return text + "".join(gzip.decompress(base64.b64decode(part)).decode() for part in parts)
