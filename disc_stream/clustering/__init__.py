"""Clustering in numpy: soft assignment, metrics, smoothing."""
