"""Figures of runs and of Table I (matplotlib)."""
