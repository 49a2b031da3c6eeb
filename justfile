# Everything a contributor does, by name. `just` lists it.
default:
    @just --list

# Set up for work on openrlb.
install:
    pip install -e '.[dev]'
    pre-commit install

# The default test suite.
test *words:
    OMP_NUM_THREADS=1 pytest {{words}}

# kill -9, torn files, full disks, many at once: a quarter of an hour (just stress --seed 7 --seconds 60).
stress *words:
    OMP_NUM_THREADS=1 pytest -m stress tests/stress {{words}}

# Almost valid inputs for every parser, for so many seconds; what is found is kept in fuzz-findings/.
fuzz seconds="600" *words:
    PYTHONPATH=tests python -m fuzzing --seconds {{seconds}} {{words}}

# What CI checks besides the tests.
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# Speed, side by side with the peers.
bench:
    python benchmarks/statistics_speed.py

# Exactly what CI runs.
ci:
    bash .ci/run

# The pages of the verbs, from the program's own help.
docs:
    python -m openrlb.cli.reference docs/verbs

# The site, built strictly into site/; needs pip install -e '.[docs]'.
site: docs
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict
