"""Bundles: runs to hand on, as Parquet that anyone can read, with their kept files and the checksum of every byte.

::

    README.md                                         a dataset card, as the Hugging Face hub shows it
    bundle.json                                       the manifest: parts, files with sizes and sha256, what was taken out
    data/env=<quoted>/algo=<quoted>/runs-NNNNN.parquet    a row for each run, with its full record
    data/env=<quoted>/algo=<quoted>/points-NNNNN.parquet  its values; system-NNNNN.parquet its hardware series
    data/env=<quoted>/algo=<quoted>/files-NNNNN.parquet   the files kept with them: locks, requirements, sources, changes

Who wants one environment or algorithm reads the parts of it and nothing else.
"""
