"""Table I as a page: docs/benchmarks/table1.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disc_stream.benchmarks.cells import PROTOCOLS, Cell
from disc_stream.benchmarks.paper import REFERENCE_ONLY
from disc_stream.benchmarks.summary import Row, rows

_TITLES = {
    "paper": "protocol `paper`: each window on its own",
    "stream": "protocol `stream`: by device and in time order",
    "adapted": "protocol `adapted`: centroids that follow each device",
}
_HEAD = """# Table I

Made by `disc-stream benchmark render` from the files in `table1/cells`; the words before the first table are
written by hand in `table1-notes.md`. Figures are NMI / ACC in percent, mean ± standard deviation over seeds,
with the paper's figure in brackets. Only windows with a scored activity take part, in training too, under
all protocols: the null class, unlabelled stretches and transitions are left out by the readers.
"""
_PARTS = {
    "train": "train", "test": "test", "test_causal": "test, causal", "test_noncausal": "test, non-causal",
}  # fmt: skip


def render(cells: Sequence[Cell], notes: str) -> str:
    """The page; the same cells and notes give the same text.

    Args:
        cells: all that are to be shown.
        notes: what a person wrote about them, in Markdown.
    """
    sections = [_HEAD, notes.strip() + "\n"]
    table = rows(cells)
    for dataset in dict.fromkeys(row.first.dataset for row in table):
        for protocol in PROTOCOLS:
            chosen = [r for r in table if (r.first.dataset, r.first.protocol) == (dataset, protocol)]
            if chosen:
                sections.append(_section(dataset, protocol, chosen))
    return "\n".join(sections)


def _section(dataset: str, protocol: str, table: Sequence[Row]) -> str:
    parts = [part for part in _PARTS if any(part in row.parts for row in table)]
    first = table[0].first
    lines = [f"## {dataset}, {_TITLES[protocol]}\n", f"K = {first.n_clusters}; {first.split}.\n"]
    if dataset in REFERENCE_ONLY:
        lines.append(
            f"The figures in brackets are the paper's on all channels of {REFERENCE_ONLY[dataset].upper()}: "
            "for reference, not like for like.\n"
        )
    if protocol == "adapted":
        lines.append(
            "Single windows and causal: by what came before; whole recordings: by all of a device's windows, "
            "smoothed both ways.\n"
        )
    if protocol != "paper" and any(row.paper for row in table):
        lines.append("The figures in brackets are the paper's, which knew neither devices nor time.\n")
    lines.append("| Method | " + " | ".join(_PARTS[p] for p in parts) + " | schedule | seeds | s |")
    lines.append("|---" * (len(parts) + 4) + "|")
    for row in table:
        figures = " | ".join(_figures(row, part) for part in parts)
        seconds = sum(cell.seconds for cell in row.cells) / len(row.cells)
        seeds = ", ".join(str(cell.seed) for cell in row.cells)
        lines.append(f"| {row.title} | {figures} | {_schedule(row)} | {seeds} | {seconds:.0f} |")
    machines = "; ".join(dict.fromkeys(cell.hardware for row in table for cell in row.cells))
    dates = sorted({cell.date for row in table for cell in row.cells})
    lines.append(f"\nMeasured {' to '.join(dict.fromkeys([dates[0], dates[-1]]))} on {machines}.\n")
    return "\n".join(lines)


def _figures(row: Row, part: str) -> str:
    if part not in row.parts:
        return ""
    return " / ".join(_figure(row, part, metric) for metric in ("nmi", "acc"))


def _figure(row: Row, part: str, metric: str) -> str:
    text = f"{row.mean(part, metric):.1f}" if len(row.cells) > 1 else f"{row.mean(part, metric):.2f}"
    deviation, paper = row.deviation(part, metric), row.paper_value(part, metric)
    text += f" ± {deviation:.1f}" if deviation is not None else ""
    return text + (f" ({paper:.2f})" if paper is not None else "")


def _schedule(row: Row) -> str:
    """Preset and epochs; refinement ends when the labels settle, so seeds may differ."""
    if not row.first.epochs:
        return "–"
    words = [] if row.first.preset == "none" else [row.first.preset]
    for phase in row.first.epochs:
        counts = sorted({cell.epochs.get(phase, 0) for cell in row.cells})
        words.append(f"{'–'.join(str(c) for c in dict.fromkeys([counts[0], counts[-1]]))} {phase}")
    frame = row.first.config.get("network", {}).get("frame", 1)
    if row.first.preset == "released" and frame > 1:
        words.append(f"{frame} samples a step")
    return ", ".join(words)


def write_page(cells: Sequence[Cell], page: Path, notes: Path) -> None:
    """Render into a file; missing notes are no notes."""
    text = render(cells, notes.read_text() if notes.is_file() else "")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)
