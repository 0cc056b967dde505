"""disc-stream: live activity labels from many wearables, learned without labels."""

__version__ = "0.1.0"
