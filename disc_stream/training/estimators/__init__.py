"""Clusterers of motion windows with scikit-learn's interface."""

from disc_stream.training.estimators.balanced import BDEC
from disc_stream.training.estimators.classical import AgglomerativeWindows, KMeansWindows
from disc_stream.training.estimators.deep import DCEC, DEC, DISC, DSC, IDEC, DeepClusterer
from disc_stream.training.estimators.disc_plus import DiscPlus
from disc_stream.training.estimators.guided import GuidedDISC
from disc_stream.training.estimators.space import SpaceClusterer

__all__ = [
    "BDEC",
    "DCEC",
    "DEC",
    "DISC",
    "DSC",
    "IDEC",
    "AgglomerativeWindows",
    "DeepClusterer",
    "DiscPlus",
    "GuidedDISC",
    "KMeansWindows",
    "SpaceClusterer",
]
