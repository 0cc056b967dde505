"""One-to-one matching of old ids with new rows: the most overlap, ties decided by rule and not by chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Overlap = npt.NDArray[np.float64]

# Sums of the integers below stay under 2^53, so that float64 adds them exactly, in any order.
_EXACT_TOTAL = float(1 << 30)
_STEPS = float(1 << 23)
_SHARE_STEPS = 256


def best_matching(overlap: Overlap, allowed: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
    """The one-to-one matching that keeps the most weight (Kuhn 1955, doi:10.1002/nav.3800020109).

    Of matchings that keep the same, one whose rows consist most of what they are matched with is taken, and
    of those the one that is first in an order that depends on the overlaps alone: rows in another order get
    the same matches in that order, but for rows whose overlaps are all equal. An overlap of 0 is no match.
    Fractional weights are compared to within 1 / 2^23 of their sum, so that the last bits decide nothing.

    Args:
        overlap: (n_ids, n_rows), 0 or more.
        allowed: (n_ids, n_rows), which matches may be made; None for all.

    Returns:
        (n_rows,) position of the id of each row, or -1.

    Example:
        >>> best_matching(np.array([[5.0, 1.0], [0.0, 3.0], [0.0, 2.0]]))
        array([0, 1])
    """
    from scipy.optimize import linear_sum_assignment

    matched = np.full(overlap.shape[1], -1, dtype=np.int64)
    if not overlap.any():
        return matched
    value = _integers(overlap)
    order = np.lexsort(value)  # by the last id first; any order will do that looks at the overlaps alone
    value = value[:, order]
    share = np.floor(_SHARE_STEPS * value / np.maximum(value.sum(0, keepdims=True), 1.0))
    # A whole step of overlap outweighs the shares of all rows together.
    gain = value * (_SHARE_STEPS * (min(value.shape) + 1)) + share
    if allowed is not None:
        gain = np.where(allowed[:, order], gain, 0.0)
    ids, columns = linear_sum_assignment(gain, maximize=True)
    found = gain[ids, columns] > 0
    matched[order[columns[found]]] = ids[found]
    return matched


def kept_weight(overlap: Overlap, matched: npt.NDArray[np.int64]) -> float:
    """The weight that a matching keeps: (n_ids, n_rows) and (n_rows,) -> a sum."""
    rows = np.flatnonzero(matched >= 0)
    return float(overlap[matched[rows], rows].sum())


def _integers(overlap: Overlap) -> Overlap:
    """Counts as they are, other weights in steps of a small share of their sum."""
    total = float(overlap.sum())
    whole = bool((overlap == np.floor(overlap)).all()) and total < _EXACT_TOTAL
    return overlap if whole else np.floor(overlap / total * _STEPS + 0.5)
