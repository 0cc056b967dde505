"""``disc-stream benchmark turned``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    SeedOption,
    parse_settings,
    print_json,
    require_extras,
    say,
)

_DATASETS = ("uci-har", "motionsense")


def turned(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", help="A dataset, or a .npz file. Repeatable; default uci-har, motionsense."
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", help="disc, dsc or disc-plus.")] = "disc-plus",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the method. Repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """What happens to labels when a sensor is turned, or worn on the other side?

    Labels new people as they wore their sensors, and as if all of these had been
    turned by 10 to 180 degrees about each axis, or their motion mirrored along
    each. Once with windows as worn, once with windows that are first aligned by
    device, which shows what robustness costs.

    Example: disc-stream benchmark turned --dataset uci-har --data ~/data
    """
    require_extras("disc-stream benchmark turned", "train")
    from rich.console import Console

    from disc_stream.benchmarks.cells import unique_in_order
    from disc_stream.benchmarks.turned import measure
    from disc_stream.data.readers import load_split

    settings = parse_settings(setting or [])
    reports: list[dict[str, Any]] = []
    with Console(stderr=True).status("reading") as status:
        for name in unique_in_order(dataset or _DATASETS):
            split = load_split(name, data, include_unlabelled=False)
            reports.append(
                measure(Path(name).name, split, method, seed, settings=settings, on_step=status.update)
            )
    if as_json:
        print_json({"results": reports})
        return
    for report in reports:
        say(f"{report['dataset']}, {report['method']}: NMI/ACC of new people, share of labels that stay")
        for arm, found in report["arms"].items():
            say(f"  {arm}: {100 * found['nmi']:.1f}/{100 * found['acc']:.1f}")
            for kind, one in found["turns"].items():
                what = kind if kind == "other side" else f"{kind} degrees"
                say(f"    {what:<12}{100 * one['nmi']:.1f}/{100 * one['acc']:.1f}, same {one['same']:.0%}")
