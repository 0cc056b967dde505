"""Segmentations side by side, for a terminal and as a page: docs/benchmarks/segmentation.md."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.benchmarks.segmentation import SegmentationCell
from disc_stream.benchmarks.segmentation_scores import Row

_HEAD = """# Beside published segmentation and state detection

Made by `disc-stream benchmark segmentation`. Every method labels every window of recordings of people that no
method was trained on, transitions and unlabelled motion included. Figures in percent.

- *each recording*: AMI, NMI, ACC and covering of the scored windows of a recording by itself, mean over
  recordings. Covering: weighted overlap of each true segment with the best one found (Arbeláez et al. 2011).
- *everything*: AMI and covering of all windows; every transition, and unlabelled motion, is a state.
- *one set of ids*: AMI, NMI and ACC over all recordings at once. A method that numbers its states anew in
  every recording has ids of its own in each.
- *matched*: the share right if somebody named the states of every recording by its truth.
- *delay*: from the end of a window until its label can be known, mean, without computing.
- *clusters*: different labels in a recording, mean; *told*: whether a method is told how many activities
  there are.
- *CPU s*: of learning from other people, and of labelling all recordings, all ways together.
"""
_COLUMNS = (
    "method", "way", "told", "delay, s", "each recording: AMI", "NMI", "ACC", "covering", "clusters",
    "everything: AMI", "covering", "one set of ids: AMI", "NMI", "ACC", "matched", "CPU s: learning",
    "labelling",
)  # fmt: skip


def render(cells: Sequence[SegmentationCell], notes: str) -> str:
    """The page; the same figures and notes give the same text.

    Args:
        cells: in the order of their rows.
        notes: what a person wrote about them, in Markdown.
    """
    parts = [_HEAD, *([notes.strip(), ""] if notes.strip() else [])]
    for name in dict.fromkeys(cell.dataset for cell in cells):
        own = [cell for cell in cells if cell.dataset == name]
        parts += [f"## {name}", "", f"{facts(own[0])}.", ""]
        parts += [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
        parts += [f"| {' | '.join(_fields(cell, way))} |" for cell in own for way in cell.rows]
        parts.append("")
    return "\n".join(parts)


def facts(cell: SegmentationCell) -> str:
    """One sentence about the recordings that were held out."""
    joined = ", each person's laid end to end" if cell.joined else ""
    recordings = f"{cell.recordings} recording{'s' if cell.recordings > 1 else ''}"
    people = f"{len(cell.people)} {'people' if len(cell.people) > 1 else 'person'}"
    return (
        f"{cell.dataset}: {recordings} of {people} held out{joined}; "
        f"{cell.windows:,} windows, {cell.scored_windows:,} of {cell.activities} scored activities"
    )


def figures(cell: SegmentationCell) -> list[str]:
    """A line for each way."""
    lines = []
    for way, row in cell.rows.items():
        each = "  ".join(f"{name} {_percent(row.each[key])}" for name, key in _EACH)
        ids = f"ids of all {_percent(row.together['ami'])}/{_percent(row.together['acc'])}"
        lines.append(f"{_title(cell)} ({way}): {each}  {ids} (AMI/ACC)  delay {row.delay_s:.0f} s")
    return lines


_EACH = (("AMI", "ami"), ("NMI", "nmi"), ("ACC", "acc"), ("covering", "covering"))


def _fields(cell: SegmentationCell, way: str) -> list[str]:
    row = cell.rows[way]
    found = [_title(cell), way, "yes" if row.told_clusters else "no", f"{row.delay_s:.0f}"]
    found += [_percent(row.each[key]) for _, key in _EACH]
    found += [f"{row.clusters:.1f}", _percent(row.everything["ami"]), _percent(row.everything["covering"])]
    return [*found, *_together(row), _percent(row.matched), f"{cell.learn_s:.1f}", f"{cell.label_s:.1f}"]


def _together(row: Row) -> list[str]:
    return [_percent(row.together[key]) for key in ("ami", "nmi", "acc")]


def _title(cell: SegmentationCell) -> str:
    scored = cell.config.get("learned_from") == "scored"
    return f"{cell.title}, scored motion only" if scored else cell.title


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
