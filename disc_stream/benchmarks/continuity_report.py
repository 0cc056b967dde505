"""The cells of the benchmark as tables: docs/benchmarks/continuity.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from disc_stream.benchmarks.continuity_cells import ContinuityCell
from disc_stream.benchmarks.continuity_measures import Step, least_of, mean_of
from disc_stream.training.files import replace_file
from disc_stream.training.recipes import get_recipe

_HEAD = """# Continuity: what keeps its meaning when a model is retrained

Made by `disc-stream benchmark continuity --page` from the files in `continuity/cells`; the words before the
first table are written by hand in `continuity-notes.md`.
"""
_KEPT_HEAD = (
    "| dataset | method | start | seed | held-out windows: kept | best with hindsight "
    "| kept / best: mean, least | anchors, by weight (by number): kept / best, least | without alignment "
    "| names right, of those possible (of given) | without alignment | kept since the first |\n"
    + "|---" * 12
    + "|"
)
_APPEARED_HEAD = (
    "| dataset | held back | method | start (learning rate) | K | seed | found by "
    "| windows (minutes) of it until then | recall, precision of its id | others moved then, at most at any "
    "| fresh ids then, in all | called unknown before | known called unknown |\n" + "|---" * 13 + "|"
)
_NOTHING_HEAD = (
    "| dataset | method | start | seed | retrainings | fresh ids | kept their id: mean, least "
    "| kept since the first |\n" + "|---" * 8 + "|"
)


def summary(cell: ContinuityCell) -> dict[str, Any]:
    """The figures of a cell, as the tables and ``--json`` show them."""
    steps, last = cell.steps, cell.steps[-1]
    facts: dict[str, Any] = {
        "dataset": cell.dataset,
        "method": cell.method,
        "start": cell.start,
        "seed": cell.seed,
        "warm_rate": _warm_rate(cell),
        "held_back": cell.held_back or None,
        "grow": bool(cell.config.get("grow")),
        "fresh": sum(step.fresh for step in steps),
        "retrainings": len(steps),
        "windows": {
            name: {
                "kept": mean_of(steps, name, "kept"),
                "least_kept": least_of(steps, name, "kept"),
                "best": mean_of(steps, name, "best"),
                "of_best": mean_of(steps, name, "of_best"),
                "least_of_best": least_of(steps, name, "of_best"),
                "unaligned": mean_of(steps, name, "unaligned"),
            }
            for name in ("anchors", "weighted_anchors", "held_out", "all")
            if all(name in step.kept for step in steps)  # cells before 2026-11-29 have no weighted anchors
        },
        "since_first": last.since_first,
        "names": [step.names.model_dump() for step in steps],
        "seconds": cell.seconds,
    }
    if cell.held_back:
        facts["appeared"] = _appearance(steps)
    return facts


def _warm_rate(cell: ContinuityCell) -> float | None:
    """Learning rate of the retrainings, where they have one."""
    if not get_recipe(cell.method).presets:
        return None
    rate: float | None = cell.config["schedule"].get("warm_settings", {}).get("learning_rate")
    return rate


def _appearance(steps: Sequence[Step]) -> dict[str, Any]:
    """The first retraining that gave the activity an id of its own; or what the last one saw."""
    there = [step for step in steps if step.appeared is not None]
    found = next((step for step in there if step.appeared and step.appeared.own_id is not None), None)
    step = found or there[-1]
    before = [one for one in there if one.stage <= step.stage]
    seen = [one.appeared for one in there if one.appeared is not None]
    assert step.appeared is not None and before[0].appeared is not None  # noqa: S101, PT018 - for the types
    return {
        "found_at": found.stage if found else None,
        "retrainings_with_it": len(before),
        "fresh": step.fresh,
        "others_moved_at_most": max(one.others_moved for one in seen),
        **step.appeared.model_dump(),
        "unknown": before[0].appeared.unknown,
        "known_unknown": before[0].appeared.known_unknown,
    }


def render(cells: Sequence[ContinuityCell], notes: str) -> str:
    """The page; the same cells and notes give the same text."""
    found = [summary(cell) for cell in cells]
    plain = [facts for facts in found if not facts["held_back"] and not facts["grow"]]
    appeared = [facts for facts in found if facts["held_back"]]
    nothing = [facts for facts in found if not facts["held_back"] and facts["grow"]]
    sections = [_HEAD, notes.strip() + "\n"]
    if plain:
        sections += ["## Changing weights and changing K\n", _KEPT_HEAD, *map(_kept_row, plain), ""]
        sections += ["Names that were wrong or gone, by retraining:\n", *_name_lines(cells), ""]
    if appeared:
        sections += ["## An activity that appears\n", _APPEARED_HEAD, *map(_appeared_row, appeared), ""]
    if nothing:
        sections += ["## Nothing held back, K found\n", _NOTHING_HEAD, *map(_nothing_row, nothing), ""]
    dates = sorted({cell.date for cell in cells})
    machines = "; ".join(dict.fromkeys(cell.hardware for cell in cells))
    sections.append(f"Measured {' to '.join(dict.fromkeys([dates[0], dates[-1]]))} on {machines}.\n")
    return "\n".join(sections)


def write_page(cells: Sequence[ContinuityCell], page: Path) -> None:
    """Write the page, with the text of NAME-notes.md beside it if there is one."""
    notes = page.with_name(f"{page.stem}-notes.md")
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    replace_file(page, render(cells, text).encode())


def _kept_row(facts: dict[str, Any]) -> str:
    held_out = facts["windows"]["held_out"]
    by_number, by_weight = facts["windows"]["anchors"], facts["windows"].get("weighted_anchors")
    weighted = _percent(by_weight["least_of_best"]) if by_weight else "not measured"
    names = facts["names"]
    given = sum(one["given"] for one in names)
    possible = sum(one["possible"] for one in names)
    return _row(
        *(facts[name] for name in ("dataset", "method", "start", "seed")),
        _percent(held_out["kept"]),
        _percent(held_out["best"]),
        f"{_percent(held_out['of_best'])}, {_percent(held_out['least_of_best'])}",
        f"{weighted} ({_percent(by_number['least_of_best'])})",
        _percent(held_out["unaligned"]),
        f"{sum(one['right'] for one in names)} of {possible} ({given})",
        f"{sum(one['unaligned'] for one in names)}",
        _percent(facts["since_first"]),
    )


def _appeared_row(facts: dict[str, Any]) -> str:
    seen = facts["appeared"]
    return _row(
        *(facts[name] for name in ("dataset", "held_back", "method")),
        facts["start"] + (f" ({facts['warm_rate']:g})" if facts["warm_rate"] else ""),
        "found" if facts["grow"] else "given",
        facts["seed"],
        f"retraining {seen['retrainings_with_it']} with it" if seen["found_at"] else "not found",
        f"{seen['windows_seen']} ({seen['minutes_seen']})",
        f"{_percent(seen['recall'])}, {_percent(seen['precision'])}",
        f"{_percent(seen['others_moved'])}, {_percent(seen['others_moved_at_most'])}",
        f"{seen['fresh']}, {facts['fresh']}",
        _percent(seen["unknown"]),
        _percent(seen["known_unknown"]),
    )


def _nothing_row(facts: dict[str, Any]) -> str:
    kept = facts["windows"]["all"]
    return _row(
        *(facts[name] for name in ("dataset", "method", "start", "seed", "retrainings", "fresh")),
        f"{_percent(kept['kept'])}, {_percent(kept['least_kept'])}",
        _percent(facts["since_first"]),
    )


def _name_lines(cells: Sequence[ContinuityCell]) -> Iterator[str]:
    for cell in cells:
        if cell.held_back or cell.config.get("grow"):
            continue
        notes = []
        for step in cell.steps:
            gone = Counter(step.names.gone)
            said = [*step.names.wrong, *(_gone(name, gone[name], cell.named) for name in gone)]
            notes += [f"{step.stage}: {', '.join(said)}"] if said else []
        title = f"{cell.dataset}, {cell.method}, {cell.start}, seed {cell.seed}"
        yield f"- {title} ({len(cell.named)} named): {'; '.join(notes) or 'none'}"


def _gone(name: str, ids: int, given: Sequence[str]) -> str:
    """A name that some or all of the ids that it was given to have lost."""
    of = list(given).count(name)
    return f"{name} is gone" + (f" ({ids} of {of} clusters)" if of > 1 else "")


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
