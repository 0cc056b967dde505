"""Clusters beside classifiers as a page: docs/benchmarks/supervised.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disc_stream.benchmarks.supervised import WITHIN

_HEAD = """# Beside classifiers that are given the labels

Made by `disc-stream benchmark supervised`. A linear discriminant (on the descriptors that disc-plus reads)
and a random forest of 500 trees (on plain features: levels, spread, quantiles, strongest frequency, entropy,
correlations) learn the activities of the training people's windows. The methods below learn from the same
windows without them. All are asked about the windows of the test part, each on its own. ACC of a classifier
is its plain accuracy; that of a method is after the best one-to-one matching of clusters to activities.
NMI / ACC in percent, mean ± standard deviation over seeds.
"""


def render(results: Sequence[Mapping[str, Any]], notes: str) -> str:
    """The page; the same figures and notes give the same text.

    Args:
        results: of ``compare``, one for each dataset.
        notes: what a person wrote about them, in Markdown.
    """
    titles = list(dict.fromkeys(title for one in results for title in one["methods"]))
    head = ["dataset", "unseen people", "windows", "linear discriminant", "random forest"]
    for title in titles:
        head += [title, "behind"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(_cells(one, titles))} |" for one in results]
    near = [
        f"{title}: at most {WITHIN:g} points behind the better classifier on "
        f"{sum(one['methods'][title]['near'] for one in results if title in one['methods'])} of "
        f"{sum(title in one['methods'] for one in results)} datasets."
        for title in titles
    ]
    return "\n".join([_HEAD, *([notes.strip(), ""] if notes.strip() else []), *lines, "", *near, ""])


def _cells(result: Mapping[str, Any], titles: Sequence[str]) -> list[str]:
    found = [result["dataset"], "yes" if result["people_apart"] else "no: same people, later motion"]
    found.append(f"{result['windows']:,}")
    found += [_figures(one) for one in result["classifiers"].values()]
    for title in titles:
        one = result["methods"].get(title)
        found += ["", ""] if one is None else [_figures(one), f"{one['behind']:+.1f}"]
    return found


def _figures(one: Mapping[str, Any]) -> str:
    return " / ".join(_spread(one[metric]) for metric in ("nmi", "acc"))


def _spread(one: Mapping[str, float | None]) -> str:
    return f"{one['mean']:.1f}" + (f" ± {one['sd']:.1f}" if one["sd"] is not None else "")
