"""The run store: the only code that imports duckdb."""
