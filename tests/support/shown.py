"""Labels for the live page."""

from __future__ import annotations

from disc_stream.types import Label, SoftLabel


def label(window: int, cluster: int = 2, *, device: str = "d1", boot: int = 1) -> Label:
    """A label of a window; all of its times are 0."""
    soft = SoftLabel(cluster, f"cluster-{cluster}", 0.75)
    return Label(device, boot, window, 0, 0, soft, (soft,), soft, 1.0, 0.5, "m1", window, 0)
