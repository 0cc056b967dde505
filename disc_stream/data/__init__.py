"""Recordings and windows: dataset readers and synthetic wearables."""
