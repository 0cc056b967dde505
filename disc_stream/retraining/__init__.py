"""Retraining: from the spool of a server to the next version in its registry."""
