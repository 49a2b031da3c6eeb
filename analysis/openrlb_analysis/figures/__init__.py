"""Figures: what to draw is said once, painters draw it."""
