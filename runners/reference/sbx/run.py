"""Trains one Stable-Baselines Jax agent: python run.py --spec spec.json --out DIR [--resolve].

Imports nothing of openrlb; files are the seam. In: spec.json. Out, in DIR: config.json (what was really applied, read back
from the model), env.json (what this process runs on), metrics.jsonl (a row for each episode, evaluation episode and scalar,
line-buffered) and, last and by rename, done.json. With --resolve the model is made, the first two files are written, and
nothing is trained.

Exit codes: 0 done, 2 bad spec, 3 no such environment, 4 diverged, 5 out of memory; one sentence on standard error says why.
"""

from training import main

if __name__ == "__main__":
    main(__doc__)
