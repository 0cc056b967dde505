"""The source of ``edge publish --ble``: a wearable whose batches are kept before it forgets them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import require_extras
from disc_stream.cli.edgeoptions import SENSORS, Wanted
from disc_stream.errors import DataError, UsageError

if TYPE_CHECKING:
    from disc_stream.types import DeviceMeta
    from disc_stream_edge.outbox import Outbox
    from disc_stream_edge.sources import Source


@dataclass(frozen=True, slots=True)
class WantedOrBle(Wanted):
    """The sources of ``edge publish``: those of all commands, and one that waits to be told what is safe."""

    ble: Annotated[
        str | None,
        typer.Option(
            "--ble",
            metavar="NAME",
            help="A wearable over Bluetooth that sends packed batches, such as a Bangle.js: "
            "its name or address.",
            rich_help_panel=SENSORS,
        ),
    ] = None

    def check(self, *, may_be_none: bool) -> None:
        """Check that there is one source, and an outbox for what the wearable forgets.

        Raises:
            UsageError: otherwise.
        """
        Wanted.check(self, may_be_none=may_be_none)  # with slots, super() would not find this class
        if self.ble and not may_be_none:  # there is no outbox
            raise UsageError(
                "--ble needs an outbox: the watch forgets what it was told is safe", remedy="Add --outbox DIR"
            )

    def named(self) -> dict[str, object]:
        """The options that name a source, with what they were given."""
        return {**Wanted.named(self), "--ble": self.ble}

    def open(self, outbox: Outbox | None, stop: threading.Event) -> Sequence[Source]:
        """The devices; none if no source is named.

        Raises:
            DiscStreamError: if the source cannot be read.
        """
        if self.ble:
            return [_wearable(self.ble, self.device or "ble", outbox, stop)]
        return Wanted.open(self, outbox, stop)


def _wearable(where: str, name: str, outbox: Outbox | None, stop: threading.Event) -> Source:
    require_extras("--ble", "ble")
    from disc_stream.wire.meta import encode_meta
    from disc_stream_edge.ble import BleLink, BleSource

    def begin(boot: int, meta: DeviceMeta) -> None:
        if outbox is not None:
            outbox.begin_boot(name, boot, encode_meta(meta), again=True)

    link = BleLink(where, stop)
    try:
        return BleSource(link, device=name, on_boot=begin)
    except DataError:
        if stop.is_set():
            raise KeyboardInterrupt from None
        raise
