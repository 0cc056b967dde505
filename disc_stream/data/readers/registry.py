"""All datasets by name."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from disc_stream.data.readers.actrectut import ACTRECTUT, ACTRECTUT_WALK
from disc_stream.data.readers.base import Reader
from disc_stream.data.readers.hapt import HAPT
from disc_stream.data.readers.mhealth import MHEALTH
from disc_stream.data.readers.mhealth_partial import MHEALTH_PARTIAL
from disc_stream.data.readers.motionsense import MOTIONSENSE
from disc_stream.data.readers.skoda import SKODA, SKODA_LEFT
from disc_stream.data.readers.uci_har import UCI_HAR
from disc_stream.data.readers.wisdm import WISDM
from disc_stream.errors import ConfigError

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        HAPT,
        UCI_HAR,
        MOTIONSENSE,
        WISDM,
        ACTRECTUT,
        ACTRECTUT_WALK,
        MHEALTH,
        MHEALTH_PARTIAL,
        SKODA,
        SKODA_LEFT,
    )
}


def get_reader(dataset: str) -> Reader:
    """The reader of a dataset.

    Raises:
        ConfigError: naming the datasets there are.
    """
    if dataset not in READERS:
        own = f"For files of your own: disc-stream data import csv --path {quote(dataset)} --out mine.npz"
        known = f"Use one of {', '.join(READERS)}, or a file that 'disc-stream data import' wrote"
        raise ConfigError(f"there is no dataset {dataset!r}", remedy=own if Path(dataset).exists() else known)
    return READERS[dataset]
