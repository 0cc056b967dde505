"""``disc-stream watch``."""

from __future__ import annotations

from typing import Annotated

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    PrefixOption,
    VerboseOption,
    setup_logging,
)


def watch(
    broker: BrokerOption = DEFAULT_BROKER,
    prefix: PrefixOption = "ds/v1",
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="FILTER", help="Device ids or patterns, such as 'left-*,hip-7'."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", min=0.0, help="End after this long.")
    ] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show live labels from a broker.

    On a terminal a table with one row per device; elsewhere one line per
    label; with --json one JSON object per line. Ctrl-C ends it.

    Example: disc-stream watch --broker mqtt://127.0.0.1:1883 --devices 'wearable-*'
    """
    import logging

    from disc_stream.cli.signals import stop_on_signals
    from disc_stream.watching.events import DeviceFilter
    from disc_stream.watching.listen import Listener, watch_labels
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.topics import Topics

    setup_logging(verbose)
    if not verbose:  # the views tell of a lost broker themselves
        logging.getLogger("disc_stream.wire").setLevel(logging.CRITICAL)
    with stop_on_signals() as stop:
        listener = Listener(Broker.parse(broker), Topics(prefix), DeviceFilter.parse(devices))
        watch_labels(listener, as_json=json, stop=stop, duration_s=duration)
