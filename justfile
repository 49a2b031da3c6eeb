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
    OMP_NUM_THREADS=1 pytest -m "stress and not cluster" tests/stress {{words}}

# What befalls several machines: a SLURM and a Ray of our own, two mounts of one folder. Some eight minutes more.
stress-cluster *words:
    OMP_NUM_THREADS=1 pytest -m cluster tests/stress {{words}}

# Almost valid inputs for every parser, for so many seconds (--engine atheris); what is found is kept in fuzz-findings/.
fuzz seconds="600" *words:
    PYTHONPATH=tests python -m fuzzing --seconds {{seconds}} {{words}}

# What CI checks besides the tests.
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# Speed, side by side with the peers, into one Markdown page: see benchmarks/everything.py.
bench *words:
    python benchmarks/everything.py {{words}}

# Exactly what CI runs.
ci:
    bash .ci/run

# A part of the suite on every Python here and with the oldest declared packages: just matrix lowest 3.13
matrix *names:
    .ci/matrix {{names}}

# The pages of the verbs, from the program's own help.
docs:
    python -m openrlb.cli.reference docs/verbs

# The site, built strictly into site/; needs pip install -e '.[docs]'.
site: docs
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict
