"""Labels that people have rejected are obeyed: nobody learns from them what they were called.

A window whose label was rejected counts as one without a label, or as one of the cluster that it should be
where that was said. So it is no anchor of the wrong id, and whether a candidate still calls it so does not
count for or against it.
"""

from __future__ import annotations

from disc_stream.retraining.replayset import OwnId
from disc_stream_server.storage.notes import KnownRejections
from disc_stream_server.storage.records import StoredLabel


def obeying(own: OwnId, rejections: KnownRejections) -> OwnId:
    """The same ids, but for labels that were rejected.

    Args:
        own: tells the id that a label was published under.
        rejections: what holds now.
    """
    if not len(rejections):
        return own

    def corrected(label: StoredLabel) -> int | None:
        said = rejections.of_label(label)
        return own(label) if said is None else said.instead

    return corrected
