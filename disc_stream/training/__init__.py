"""Estimators and the training loop (torch)."""
