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
from disc_stream.data.readers.opportunity import OPPORTUNITY
from disc_stream.data.readers.pamap2 import PAMAP2
from disc_stream.data.readers.realworld import REALWORLD
from disc_stream.data.readers.skoda import SKODA, SKODA_LEFT
from disc_stream.data.readers.uci_har import UCI_HAR
from disc_stream.data.readers.wisdm import WISDM
from disc_stream.errors import ConfigError, did_you_mean

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
        PAMAP2,
        OPPORTUNITY,
        REALWORLD,
    )
}


def get_reader(dataset: str) -> Reader:
    """The reader of a dataset.

    Raises:
        ConfigError: naming the datasets there are.
    """
    if dataset not in READERS:
        own = _own_files(Path(dataset))
        known = f"Use one of {', '.join(READERS)}, or a file that 'disc-stream data import' wrote"
        raise ConfigError(
            f"there is no dataset {dataset!r}{did_you_mean(dataset, READERS)}", remedy=own or known
        )
    return READERS[dataset]


def _own_files(path: Path) -> str | None:
    """What to do with files of one's own; None if there is nothing at ``path``."""
    if not path.exists():
        return None
    if path.is_dir() and any(path.glob("*.parquet")):
        return "Of Parquet, only folders that 'disc-stream data export' wrote can be read"
    return f"For files of your own: disc-stream data import {quote(str(path))} --out mine.npz"
