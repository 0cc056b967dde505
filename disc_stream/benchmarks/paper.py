"""Table I of the paper (Amrani, Micucci, Napoletano: Unsupervised Deep Learning-based clustering for HAR)."""

from __future__ import annotations

from typing import NamedTuple


class Figures(NamedTuple):
    """NMI and ACC in percent, on the training and the test part."""

    train_nmi: float
    train_acc: float
    test_nmi: float
    test_acc: float


_COLUMNS = ("uci-har", "skoda", "mhealth")
_ROWS: dict[str, tuple[float, ...]] = {
    "kmeans": (49.36, 45.04, 45.90, 40.69, 38.54, 39.18, 36.93, 38.59, 41.85, 43.95, 42.14, 44.41),
    "ac-average": (1.18, 19.16, 1.8, 18.29, 1.51, 13.88, 18.38, 14.37, 12.12, 10.35, 9.63, 10.19),
    "ac-complete": (3.45, 19.56, 19.22, 31.69, 33.29, 31.32, 31.86, 28.07, 23.49, 42.10, 30.02, 13.74),
    "ac-ward": (40.73, 42.26, 47.71, 43.26, 41.79, 41.35, 36.99, 33.19, 48.07, 48.26, 48.54, 48.60),
    "dsc-ae-kmeans": (51.93, 60.19, 45.49, 55.62, 53.75, 47.56, 50.64, 42.62, 54.86, 43.96, 55.75, 48.24),
    "dsc-ae-average": (45.18, 37.57, 46.41, 34.61, 18.88, 16.96, 38.59, 30.22, 34.54, 20.47, 47.01, 29.26),
    "dsc-ae-complete": (40.66, 40.03, 40.81, 43.67, 32.55, 32.47, 41.57, 35.93, 42.23, 35.05, 44.42, 36.51),
    "dsc-ae-ward": (75.27, 74.78, 52.83, 60.33, 55.81, 51.51, 54.41, 45.96, 61.07, 48.91, 57.04, 46.28),
    "disc-ae-kmeans": (54.84, 55.27, 48.27, 54.62, 50.65, 47.83, 47.87, 43.10, 65.14, 55.27, 64.88, 54.04),
    "disc-ae-average": (43.82, 39.17, 41.26, 35.12, 29.74, 28.82, 29.63, 24.12, 30.80, 13.69, 31.24, 13.16),
    "disc-ae-complete": (37.77, 44.12, 38.91, 40.62, 35.48, 34.62, 44.13, 37.31, 46.58, 36.22, 50.21, 30.24),
    "disc-ae-ward": (64.21, 63.14, 51.75, 60.77, 52.85, 47.92, 54.10, 43.45, 68.85, 58.31, 70.98, 59.52),
    "dec": (55.57, 49.93, 55.20, 49.10, 46.86, 41.02, 46.58, 41.08, 50.52, 43.71, 51.68, 45.11),
    "idec": (55.76, 51.78, 54.43, 51.02, 49.65, 46.70, 48.93, 40.56, 51.28, 42.59, 52.34, 44.76),
    "dcec": (52.77, 48.39, 53.12, 48.88, 42.90, 39.56, 45.51, 42.24, 44.15, 23.51, 45.13, 24.29),
    "dsc-kmeans": (64.75, 64.54, 61.58, 61.28, 56.91, 50.97, 57.01, 50.28, 62.65, 57.19, 63.06, 56.85),
    "dsc-ward": (76.43, 78.79, 71.25, 75.41, 56.97, 52.90, 59.06, 53.48, 59.42, 51.57, 60.91, 53.33),
    "disc-kmeans": (85.72, 92.08, 80.81, 87.99, 52.93, 54.45, 52.93, 54.45, 68.15, 53.96, 69.38, 54.83),
    "disc-ward": (85.47, 81.86, 81.91, 79.40, 54.91, 54.57, 55.93, 53.45, 63.23, 50.74, 61.29, 48.82),
}
# Only a part of MHEALTH's channels: the paper's figures are something to hold on to, not like for like.
REFERENCE_ONLY = {"mhealth-partial": "mhealth"}


def paper_figures(dataset: str, method: str) -> Figures | None:
    """What Table I says of a method on a dataset; None if it does not."""
    column = REFERENCE_ONLY.get(dataset, dataset)
    if method not in _ROWS or column not in _COLUMNS:
        return None
    first = 4 * _COLUMNS.index(column)
    return Figures(*_ROWS[method][first : first + 4])


def best_figures(dataset: str) -> tuple[float, float] | None:
    """The best test NMI and the best test ACC of all of Table I's methods on a dataset."""
    known = [figures for method in _ROWS if (figures := paper_figures(dataset, method))]
    if not known:
        return None
    return max(f.test_nmi for f in known), max(f.test_acc for f in known)
