"""What the clusters of a model look like, in physical terms and in words; without labels."""

from __future__ import annotations

from disc_stream.characteristics.clusters import Characteristics, MotionWindows, characterise
from disc_stream.characteristics.names import propose_names
from disc_stream.characteristics.proposals import Proposal
from disc_stream.characteristics.representatives import Representatives, representatives
from disc_stream.characteristics.words import MAX_DESCRIPTION, describe, describe_all

__all__ = [
    "MAX_DESCRIPTION",
    "Characteristics",
    "MotionWindows",
    "Proposal",
    "Representatives",
    "characterise",
    "describe",
    "describe_all",
    "propose_names",
    "representatives",
]
