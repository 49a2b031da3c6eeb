"""One file for each place that runs come from."""
