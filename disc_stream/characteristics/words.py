"""A cluster in a few words, for people who have not named it yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from disc_stream.characteristics.clusters import Characteristics

MAX_DESCRIPTION = 44

UPRIGHT_DEG = 11.6
"""Tilt below which a still body stands (Vähä-Ypyä et al. 2018, doi:10.1111/sms.13017, hip)."""

CHANGES_POSTURE_DEG = 20.0
_STRENGTH = {"still": "faint", "light": "light", "moderate": "moderate", "vigorous": "strong"}


def describe(cluster: Characteristics) -> str:
    """A few words: ``rhythmic, 1.8 steps/s, strong``, or ``still, tilted 80°``.

    At most ``MAX_DESCRIPTION`` characters. Clusters of one model can have the same description;
    ``describe_all`` tells them apart.
    """
    if cluster.windows == 0:
        return "no windows"
    if cluster.moving is False:
        return f"still, {_posture(cluster)}" if _posture(cluster) else "still"
    words = ["rhythmic", _pace(cluster)] if cluster.rhythmic else [_unsteady(cluster)]
    if cluster.intensity:
        words.append(_STRENGTH[cluster.intensity])
    elif cluster.dynamic_ms2 is None:
        words.append("strength unknown")
    return ", ".join(word for word in words if word)


def describe_all(clusters: Sequence[Characteristics]) -> tuple[str, ...]:
    """Descriptions of all clusters of one model; no two are the same.

    Where two would be, each gets the first fact that differs between them; clusters that differ in nothing
    that is known get their number.
    """
    texts = [describe(cluster) for cluster in clusters]
    for fact in _FACTS:
        counts = Counter(texts)
        alike = {i for i, text in enumerate(texts) if counts[text] > 1}
        values: dict[str, set[str]] = {}
        for i in alike:
            values.setdefault(texts[i], set()).add(fact(clusters[i]))
        texts = [
            _joined(text, fact(clusters[i])) if i in alike and len(values[text]) > 1 else text
            for i, text in enumerate(texts)
        ]
    counts = Counter(texts)
    return tuple(
        _joined(text, f"no. {cluster.row}") if counts[text] > 1 else text
        for text, cluster in zip(texts, clusters, strict=True)
    )


def duration(seconds: float) -> str:
    """A length of time in short: ``12 s``, ``4 min``, ``2 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def _posture(cluster: Characteristics) -> str:
    if cluster.tilt_deg is not None:
        return "upright" if cluster.tilt_deg < UPRIGHT_DEG else f"tilted {cluster.tilt_deg:.0f}°"
    return f"{cluster.up_axis} up" if cluster.up_axis else ""


def _pace(cluster: Characteristics) -> str:
    if cluster.cadence_hz is None:
        return ""
    return f"{cluster.cadence_hz:.1f} steps/s" if cluster.cadence_hz >= 1.3 else f"{cluster.cadence_hz:.1f}/s"


def _unsteady(cluster: Characteristics) -> str:
    if (cluster.turning_deg or 0.0) >= CHANGES_POSTURE_DEG:
        return "changes posture"
    return "irregular" if cluster.moving else "not rhythmic"


def _joined(text: str, fact: str) -> str:
    if not fact:
        return text
    room = MAX_DESCRIPTION - len(fact) - 2
    words = text.split(", ")
    while len(", ".join(words)) > room and len(words) > 1:  # a word that is cut says nothing
        words.pop()
    return f"{', '.join(words)[:room]}, {fact}"


def _tilt(cluster: Characteristics) -> str:
    if cluster.tilt_deg is None or (not cluster.moving and cluster.tilt_deg >= UPRIGHT_DEG):
        return ""  # it is said already
    return f"leans {cluster.tilt_deg:.0f}°"


def _number(field: str, form: str) -> Callable[[Characteristics], str]:
    def fact(cluster: Characteristics) -> str:
        value = getattr(cluster, field)
        return "" if value is None else form.format(value)

    return fact


def _bout(cluster: Characteristics) -> str:
    return "" if cluster.bout_s is None else f"for {duration(cluster.bout_s)}"


def _share(cluster: Characteristics) -> str:
    return f"{100 * cluster.share:.0f} % of all"


_FACTS: tuple[Callable[[Characteristics], str], ...] = (
    _tilt,
    _number("cadence_hz", "{:.2f}/s"),
    _number("mad_mg", "{:.0f} mg"),
    _number("rotation_rad_s", "turns {:.1f} rad/s"),
    _number("up_axis", "{} up"),
    _bout,
    _share,
)
