"""All datasets by name."""

from __future__ import annotations

from disc_stream.data.readers.base import Reader
from disc_stream.data.readers.hapt import HAPT
from disc_stream.errors import ConfigError

READERS: dict[str, Reader] = {reader.name: reader for reader in (HAPT,)}


def get_reader(dataset: str) -> Reader:
    """The reader of a dataset.

    Raises:
        ConfigError: naming the datasets there are.
    """
    if dataset not in READERS:
        raise ConfigError(
            f"there is no dataset {dataset!r}",
            remedy=f"Use one of {', '.join(READERS)}, or a file that 'disc-stream data import' wrote",
        )
    return READERS[dataset]
