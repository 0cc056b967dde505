"""Names of what runs models, as options give them."""

from __future__ import annotations

from typing import get_args

from disc_stream.artifacts.runtimes.session import Concrete
from disc_stream.errors import UsageError


def parse_providers(names: list[str] | None) -> list[Concrete]:
    """Providers by name, each once; for None all that can run every model.

    Raises:
        UsageError: if there is no such provider.
    """
    known: dict[str, Concrete] = {name: name for name in get_args(Concrete)}
    if unknown := [name for name in names or () if name not in known]:
        raise UsageError(f"there is no provider {unknown[0]!r}", remedy=f"Use one of: {', '.join(known)}")
    every = [name for name in known if name != "numpy"]
    return [known[name] for name in dict.fromkeys(names or every)]
