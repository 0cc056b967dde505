"""``disc-stream demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    SeedOption,
    VerboseOption,
    print_json,
    require_extras,
    say,
    setup_logging,
)
from disc_stream.errors import ConfigError, DiscStreamError

if TYPE_CHECKING:
    from disc_stream.data.synthetic import Activity

PAGE_PORT = 8765
_ALL_MINUTES = 240
_MOST_MINUTES = 30.0
_LEARNING, _MACHINERY = "Learning", "Machinery"


def demo(
    devices: Annotated[int, typer.Option("--devices", min=1, max=200, help="Simulated wearables.")] = 8,
    replay: Annotated[
        list[str] | None,
        typer.Option("--replay", metavar="SPEC", help="Recordings instead, such as hapt:user02. Repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", envvar="DISC_STREAM_DATA", help="Zip or folder of the datasets, for --replay."
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", min=1.0, help="Publish for so long, then sum up."),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, max=1000.0, help="1 is real time, 10 ten times as fast.")
    ] = 1.0,
    new_activity: Annotated[
        str | None,
        typer.Option(
            "--new-activity",
            metavar="NAME",
            help="Nobody does this at first, such as lying. It appears while labels come, is unknown, and "
            "gets an id of its own by a retraining. Learns by disc-plus.",
        ),
    ] = None,
    json: JsonOption = False,
    seed: SeedOption = 0,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Learn even if a model is kept.", rich_help_panel=_LEARNING)
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Where models are kept. Default: ~/.cache/disc-stream/demo",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.2,
            max=120.0,
            help="Motion of each device to learn from. Default: 30, at most four hours in all.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    train_epochs: Annotated[
        int | None,
        typer.Option(
            "--train-epochs",
            min=1,
            max=1000,
            help="Learn a DISC network instead of disc-plus: epochs of its autoencoder.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            "--clusters",
            min=2,
            max=64,
            help="Clusters to find. Default: as many as there are activities.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65_535,
            help=f"Port of the live page, 0 for any. Default: {PAGE_PORT}, and no page with --json.",
            rich_help_panel=_MACHINERY,
        ),
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="No live page.", rich_help_panel=_MACHINERY)
    ] = False,
    broker_port: Annotated[
        int | None,
        typer.Option(
            "--broker-port",
            min=1,
            max=65_535,
            help="Port of the demo's broker. Default: a free one.",
            rich_help_panel=_MACHINERY,
        ),
    ] = None,
    embedded_broker: Annotated[
        bool,
        typer.Option(
            "--embedded-broker",
            help="Do without Mosquitto, for a first look only.",
            rich_help_panel=_MACHINERY,
        ),
    ] = False,
    verbose: VerboseOption = False,
) -> None:
    """Show the whole product on this machine: unlabelled motion becomes live labels.

    Starts a broker on loopback (Mosquitto if there is one) and a server that has
    no model yet, and lets simulated wearables publish their past motion. A
    retraining learns a small model from what the server has kept (less than two
    minutes the first time); the acceptance gate lets it into the registry that
    the server follows. Then the wearables go live, and are labelled in the
    terminal and on a page. Ctrl-C ends it and leaves nothing behind but the model.

    With --duration it ends by itself and sums up; exit code 1 if a message
    was lost or a window has no label.

    Example: disc-stream demo --duration 60 --json
    """
    require_extras("disc-stream demo", "cpu", "demo")
    if no_page and port is not None:
        raise ConfigError("--port and --no-page exclude each other", remedy="Give one of them")
    from disc_stream.cli.signals import stop_on_signals
    from disc_stream.demo.progress import Reporter
    from disc_stream.demo.run import DemoOptions, run_demo

    _quieten(verbose)
    options = DemoOptions(
        devices=devices,
        replay=replay or [],
        data=data,
        seed=seed,
        duration_s=duration,
        speed=speed,
        minutes=minutes or min(_MOST_MINUTES, max(1.0, _ALL_MINUTES / devices)),
        epochs=train_epochs,
        clusters=clusters,
        retrain=retrain,
        cache=cache,
        page_port=_page_port(port, no_page=no_page, headless=json),
        broker_port=broker_port,
        embedded=embedded_broker,
        quiet=json,
        new_activity=_new_activity(new_activity, replay, train_epochs),
    )
    with stop_on_signals() as stop:
        summary = run_demo(options, stop, Reporter())
    if json:
        print_json(summary)
    else:
        _print_text(summary)
    _require_complete(summary)


def _new_activity(name: str | None, replay: list[str] | None, epochs: int | None) -> Activity | None:
    from disc_stream.data.synthetic import LABEL_NAMES, Activity

    if name is None:
        return None
    if replay:
        raise ConfigError("--new-activity is for simulated wearables", remedy="Leave out --replay")
    if epochs is not None:
        raise ConfigError(
            "with --new-activity the demo learns by disc-plus, which has no epochs",
            remedy="Leave out --train-epochs",
        )
    if name not in LABEL_NAMES:
        raise ConfigError(
            f"--new-activity {name!r} is no activity of the simulated wearables",
            remedy=f"Use one of: {', '.join(LABEL_NAMES)}",
        )
    return Activity(LABEL_NAMES.index(name))


def _page_port(port: int | None, *, no_page: bool, headless: bool) -> int | None:
    if no_page or (headless and port is None):
        return None
    return PAGE_PORT if port is None else port


def _quieten(verbose: bool) -> None:
    """Ours at warnings: the parts of the service are not the subject here, their labels are."""
    import logging

    setup_logging(verbose)
    if not verbose:
        for package in ("disc_stream", "disc_stream_server", "disc_stream_edge", "disc_stream_export"):
            logging.getLogger(package).setLevel(logging.WARNING)


def _require_complete(summary: dict[str, Any]) -> None:
    lost, missing = summary["messages"]["lost"], summary["labels"]["missing"]
    if lost or missing:
        raise DiscStreamError(
            f"{lost} messages were lost and {missing} windows have no label",
            remedy="Is the machine overloaded? Try fewer --devices or a lower --speed",
        )


def _print_text(summary: dict[str, Any]) -> None:
    messages, labels, model = summary["messages"], summary["labels"], summary["model"]
    latency, agreement = summary["latency_ms"], summary["agreement"]
    say(
        f"{summary['devices']} devices, {summary['seconds']:.0f} s, broker {summary['broker']['kind']}: "
        f"{messages['sent']} messages sent, {messages['received']} received, {messages['lost']} lost; "
        f"{summary['windows']} windows, {labels['received']} labels, {labels['missing']} missing"
    )
    if latency is not None:
        say(
            f"from publishing to label: {latency['p50']:.0f} ms (median), {latency['p99']:.0f} ms (p99), "
            f"{latency['max']:.0f} ms (longest)"
        )
    if (act := summary["new_activity"]) is not None:
        _print_new_activity(act)
    if agreement is not None:
        raw, smoothed = agreement["raw"], agreement["smoothed"]
        say(
            f"agreement with the {agreement['truth']}'s truth over {agreement['windows']} windows: "
            f"ACC {raw['acc']:.0%}, NMI {raw['nmi']:.0%}; smoothed ACC {smoothed['acc']:.0%}, "
            f"NMI {smoothed['nmi']:.0%}"
        )
    say(f"model {model['version']} of {model['windows']} unlabelled windows: {model['bundle']}")


def _print_new_activity(act: dict[str, Any]) -> None:
    before, after = act["before"], act["after"]
    if act["own_id"] is None or act["seconds_to_own_id"] is None:
        say(f"{act['activity']} got no id of its own: it takes two minutes or so, and is not found each time")
        return
    share, changed = after["with_own_id"] or 0, after["others_changed"] or 0
    say(
        f"{act['activity']}: {before['unknown'] or 0:.0%} of its windows were unknown; cluster "
        f"{act['own_id']} after {act['seconds_to_own_id']:.0f} s, with {share:.0%} of its windows since; "
        f"{changed:.1%} of the other windows changed their id"
    )
