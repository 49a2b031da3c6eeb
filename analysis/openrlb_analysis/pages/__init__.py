"""The parts of an HTML page; :mod:`openrlb_analysis.report` is the only one that puts them together."""
