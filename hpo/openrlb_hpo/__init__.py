"""Tuning whose headline is a score on seeds that tuning never saw."""
