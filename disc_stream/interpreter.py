"""How our programs start another Python: always through here."""

from __future__ import annotations

import sys


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module with this very interpreter.

    ``-P`` keeps the working directory out of the places that modules are imported from. With ``-m`` alone it
    comes first there, and a ``json.py`` that somebody has put into it would run with our rights.

    Args:
        module: dotted name.
        arguments: for it.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
